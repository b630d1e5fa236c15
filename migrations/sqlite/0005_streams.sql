-- Events leave the house: their place in the stream of their desk, who is told of them, and how far each has come. Rules as in 0001.

-- The place in the desk's stream, given after the commit by whoever has that duty; 0 until then. A place that was given with the
-- insert would let readers pass by an event that is committed late.
alter table events add column seq integer not null default 0;
-- The words of a comment or of a reply, sealed; emptied when they are forgotten.
alter table events add column detail blob not null default x'';

-- What has no place yet, oldest first over all desks: as large as what came in since the last look.
create index events_unplaced on events (id, desk_id) where seq = 0;
-- Reading on from a place; and no two events have one place, whatever races.
create unique index events_seq on events (desk_id, seq) where seq > 0;

-- The last place that was given in the stream of a desk.
create table streams (
    desk_id blob not null primary key,
    seq integer not null
) strict, without rowid;

-- How far a sink of the whole service has come in the stream of a desk.
create table sink_marks (
    desk_id blob not null,
    sink text not null,
    seq integer not null,
    primary key (desk_id, sink)
) strict, without rowid;

-- Addresses that a desk wants its events sent to: few a desk.
create table webhooks (
    desk_id blob not null,
    id blob not null,
    -- Sealed, because addresses of webhooks hold secrets; like the keys that sign.
    url blob not null,
    secret blob not null,
    old_secret blob not null,
    old_until integer not null,
    -- Words of kinds with commas between them; empty for all.
    kinds text not null,
    -- The shape of the body.
    format text not null,
    description text not null,
    state text not null,
    -- Up to here everything was tried once.
    mark integer not null,
    -- Failures in a row, since when, and until when nothing is tried.
    failures integer not null,
    failing_since integer not null,
    open_until integer not null,
    -- When something is next to be tried again; 0 for nothing.
    retry_at integer not null,
    created_at integer not null,
    primary key (desk_id, id)
) strict, without rowid;

-- What a webhook did not take, to be tried again: bounded for each webhook.
create table webhook_retries (
    desk_id blob not null,
    webhook_id blob not null,
    seq integer not null,
    attempts integer not null,
    next_at integer not null,
    primary key (desk_id, webhook_id, seq)
) strict, without rowid;

-- Every attempt to tell a webhook, for the desk to look at; kept for some days.
create table webhook_deliveries (
    desk_id blob not null,
    webhook_id blob not null,
    id blob not null,
    event_id blob not null,
    kind text not null,
    attempt integer not null,
    at integer not null,
    status integer not null,
    elapsed_ms integer not null,
    error text not null,
    primary key (desk_id, webhook_id, id)
) strict, without rowid;
