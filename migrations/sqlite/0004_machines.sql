-- Machines that open mails: each showing of the rating page, who gave an answer, answers that are kept and not counted, and what
-- managers did to ratings.

-- A showing of a page to a client. Few for each request, whoever opens it how often: see domain::view.
create table views (
    desk_id blob not null,
    request_id blob not null,
    id blob not null,
    at integer not null,
    kind text not null,
    -- The score that the link offered; 0 for none.
    score integer not null,
    -- Keyed hashes that are different for every link: of network and user agent, and of the page's cookie.
    network blob not null,
    cookie blob not null,
    -- Showings that have no row of their own.
    more integer not null,
    -- Posts from this showing: its one-time value names the number of those before it.
    uses integer not null,
    used_at integer not null,
    primary key (desk_id, request_id, id)
) strict, without rowid;

-- To forget old ones in small steps, oldest first.
create index views_at on views (at);

-- The client of the page that gave the rating; empty where the channel proves the contact.
alter table ratings add column client blob not null default x'';
-- That a manager took it out of the reports: when, who and why; 0 and empty if not.
alter table ratings add column excluded_at integer not null default 0;
alter table ratings add column excluded_by text not null default '';
alter table ratings add column excluded_reason text not null default '';

-- Of a post of our page: its score, its client and the signs of a machine that it gave.
alter table replies add column score integer not null default 0;
alter table replies add column client blob not null default x'';
alter table replies add column signs text not null default '';

-- Answers that are kept and not counted: pages of a desk, and one of them by its identifier. As large as what machines sent.
create unique index replies_held on replies (desk_id, id) where grade in ('auto', 'suspect');

-- What managers did to ratings, in order; never changed.
create table rating_log (
    desk_id blob not null,
    rating_id blob not null,
    n integer not null,
    at integer not null,
    -- excluded, restored or released.
    act text not null,
    actor text not null,
    reason text not null,
    primary key (desk_id, rating_id, n)
) strict, without rowid;
