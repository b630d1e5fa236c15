-- What has waited long enough, under a condition that nobody has who looks for a pair of addresses: PostgreSQL takes an index that it
-- counted while nobody was asked for empty, and would read this one whole for each reply.
drop index requests_waiting;
create index requests_waiting on requests (listen_until) where listening = 1 and listen_until > 0;
