-- Events leave the house: their place in the stream of their desk, who is told of them, and how far each has come. Rules as in 0001.

-- The place in the desk's stream, given after the commit by whoever has that duty; 0 until then. A place that was given with the
-- insert would let readers pass by an event that is committed late.
alter table events add column seq bigint not null default 0;
-- The words of a comment or of a reply, sealed; emptied when they are forgotten.
alter table events add column detail bytea not null default '\x';

-- What has no place yet, oldest first over all desks: as large as what came in since the last look.
create index events_unplaced on events (id, desk_id) where seq = 0;
-- Reading on from a place; and no two events have one place, whatever races.
create unique index events_seq on events (desk_id, seq) where seq > 0;

-- The last place that was given in the stream of a desk.
create table streams (
    desk_id uuid not null primary key,
    seq bigint not null
);

-- How far a sink of the whole service has come in the stream of a desk.
create table sink_marks (
    desk_id uuid not null,
    sink text not null,
    seq bigint not null,
    primary key (desk_id, sink)
);

-- Addresses that a desk wants its events sent to: few a desk.
create table webhooks (
    desk_id uuid not null,
    id uuid not null,
    -- Sealed, because addresses of webhooks hold secrets; like the keys that sign.
    url bytea not null,
    secret bytea not null,
    old_secret bytea not null,
    old_until bigint not null,
    -- Words of kinds with commas between them; empty for all.
    kinds text not null,
    -- The shape of the body.
    format text not null,
    description text not null,
    state text not null,
    -- Up to here everything was tried once.
    mark bigint not null,
    -- Failures in a row, since when, and until when nothing is tried.
    failures bigint not null,
    failing_since bigint not null,
    open_until bigint not null,
    -- When something is next to be tried again; 0 for nothing.
    retry_at bigint not null,
    created_at bigint not null,
    primary key (desk_id, id)
);

-- What a webhook did not take, to be tried again: bounded for each webhook.
create table webhook_retries (
    desk_id uuid not null,
    webhook_id uuid not null,
    seq bigint not null,
    attempts bigint not null,
    next_at bigint not null,
    primary key (desk_id, webhook_id, seq)
);

-- Every attempt to tell a webhook, for the desk to look at; kept for some days.
create table webhook_deliveries (
    desk_id uuid not null,
    webhook_id uuid not null,
    id uuid not null,
    event_id uuid not null,
    kind text not null,
    attempt bigint not null,
    at bigint not null,
    status bigint not null,
    elapsed_ms bigint not null,
    error text not null,
    primary key (desk_id, webhook_id, id)
);
