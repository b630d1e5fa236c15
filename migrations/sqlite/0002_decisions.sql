-- What the rules of a desk need to decide.

-- What the desk said about restraint (JSON; empty if nothing), so that past triggers can be replayed with other rules.
alter table requests add column context text not null default '';
-- When the ask was due before quiet hours moved it; 0 if they did not.
alter table requests add column planned_at integer not null default 0;

-- Sending of the desk is paused since then, and why; 0 if it is not.
alter table desks add column paused_at integer not null default 0;
alter table desks add column paused_reason text not null default '';
-- When somebody last let it send again; 0 if nobody had to.
alter table desks add column resumed_at integer not null default 0;

-- The desk's other asks of an address within the days of its caps: one probe and as many rows as the caps allow. It costs every
-- trigger one more entry, at a random place, which is the price of deciding over all channels in the transaction that writes the
-- decision; the same entry finds all that is kept about an address. Its columns never change, so it is paid once a request.
create index requests_address on requests (desk_id, address_hash, due_at);
-- The same over the addresses of a contact whom the desk names. Partial: triggers without a contact's id pay nothing.
create index requests_contact on requests (desk_id, contact_hash, due_at) where contact_hash <> address_hash;
-- Desks that are paused, for every claim: none, as a rule.
create index desks_paused on desks (id) where paused_at > 0;

-- Asks that fall due on a day of the desk, counted in the transaction that decides; rows only for desks with a daily cap.
create table asks_of_day (
    desk_id blob not null,
    day integer not null,
    n integer not null,
    primary key (desk_id, day)
) strict, without rowid;

-- What the conversion watch knows of an hour: text messages and calls sent, those answered within half an hour, and the countries
-- that they went to, separated by blanks.
create table watched_hours (
    desk_id blob not null,
    hour integer not null,
    sent integer not null,
    answered integer not null,
    countries text not null,
    primary key (desk_id, hour)
) strict, without rowid;
