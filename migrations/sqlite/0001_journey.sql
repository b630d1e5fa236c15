-- The schema, in the order in which the data walks. Rules that keep partitions and distributed engines open: every
-- primary key but those of desks, duties and strays starts with desk_id (indexes for what names no desk, such as a link, a callback or a worker's
-- queue, do not), identifiers are UUIDv7 made by us, instants are
-- milliseconds UTC, no sequences, no triggers, no nullable columns; "none" is 0 or the empty text.

-- A tenant.
create table desks (
    id blob not null primary key,
    slug text not null unique,
    name text not null,
    settings text not null,
    created_at integer not null
) strict;

-- Keys are kept as SHA-256; the handle is the part of the key that finds the row.
create table api_keys (
    desk_id blob not null,
    id blob not null,
    handle text not null unique,
    hash blob not null,
    scopes text not null,
    created_at integer not null,
    revoked_at integer not null,
    primary key (desk_id, id)
) strict;

-- One ask for one resolution, with the decision, the snapshot of who served, the fingerprint for idempotency and the state
-- of its delivery: one row, so that a trigger costs two (this and its event).
create table requests (
    desk_id blob not null,
    id blob not null,
    channel text not null,
    sender text not null,
    -- Keyed hash of our address and theirs (and the desk, where a reply names its request).
    pair_key blob not null,
    -- 1 while a reply from the pair belongs to this request.
    listening integer not null,
    listen_until integer not null,
    address_hash blob not null,
    contact_hash blob not null,
    -- The person, sealed as one piece: erasing it erases the person.
    contact blob not null,
    conversation text not null,
    resolution text not null,
    -- The resolution while this request stands for it; otherwise a text that no resolution can be.
    slot text not null,
    idempotency_key blob not null,
    fingerprint blob not null,
    agent_id text not null,
    agent_name text not null,
    agent_kind text not null,
    team text not null,
    queue text not null,
    touchpoint text not null,
    phase text not null,
    topic text not null,
    language text not null,
    timezone text not null,
    switches integer not null,
    mail text not null,
    metadata text not null,
    state text not null,
    reason text not null,
    created_at integer not null,
    due_at integer not null,
    expires_at integer not null,
    sent_at integer not null,
    delivered_at integer not null,
    reached_at integer not null,
    answered_at integer not null,
    ended_at integer not null,
    -- Hash of the token in its link; empty where the channel has none.
    link_hash blob not null,
    delivery text not null,
    delivery_code text not null,
    attempts integer not null,
    next_at integer not null,
    lease_owner text not null,
    lease_until integer not null,
    fence integer not null,
    primary key (desk_id, id)
) strict, without rowid;

-- One request stands for one resolution; also finds the requests of a conversation.
create unique index requests_resolution on requests (desk_id, conversation, slot);
-- A desk's own idempotency keys. Partial: most triggers have none and pay nothing.
create unique index requests_idempotency on requests (desk_id, idempotency_key) where idempotency_key <> x'';
-- One open request per pair of addresses, and the way from a reply to its request: one probe. Without desk_id, because a
-- telephone number cannot tell desks apart. Partial: as large as what is open, not as what was ever asked.
create unique index requests_listening on requests (pair_key) where listening = 1;
-- From a link to its request.
create unique index requests_link on requests (link_hash) where link_hash <> x'';
-- What is due to be sent, by channel: one provider's backlog shall not stand in another's way.
create index requests_due on requests (channel, next_at) where delivery = 'queued';
-- What a dead worker may have left behind.
create index requests_leased on requests (lease_until) where delivery in ('claimed', 'dispatching');
-- What may or may not have been sent: few, and to be seen at every scrape.
create index requests_unknown on requests (next_at) where delivery in ('unknown', 'guarded', 'lost');
-- What has waited long enough.
create index requests_waiting on requests (listen_until) where listening = 1;

-- One provider call.
create table attempts (
    desk_id blob not null,
    request_id blob not null,
    n integer not null,
    token_hash blob not null,
    provider text not null,
    provider_id text not null,
    state text not null,
    code text not null,
    started_at integer not null,
    ended_at integer not null,
    -- What its text is known by in the provider's list; empty where there is no list.
    body_hash blob not null,
    -- When its message goes out, for a second one that waits at the provider; otherwise 0.
    send_at integer not null,
    -- When it is looked after next; 0 for never. Then how many looks were answered, how many of them found nothing, and since when.
    check_at integer not null,
    looks integer not null,
    absent integer not null,
    absent_since integer not null,
    primary key (desk_id, request_id, n)
) strict, without rowid;

-- From a callback's token to its attempt.
create unique index attempts_token on attempts (token_hash);
-- Whether a message in the provider's list belongs to an attempt already. Paid once a send, not at a trigger.
create index attempts_provider on attempts (provider_id) where provider_id <> '';
-- Requests that were attempted more than once, which the invariants look at: few.
create index attempts_again on attempts (desk_id, request_id) where n > 1;
-- What is to be looked after: as large as what is in doubt.
create index attempts_check on attempts (check_at) where check_at > 0;
-- Second messages that wait at the provider, to take them back once they are not wanted any more: few at any time.
create index attempts_scheduled on attempts (send_at) where state = 'scheduled';

-- How far the scheduled duties are, and who does them: one row a duty, measured on the database's clock, so that one replica
-- does what one is enough for.
create table duties (
    name text not null primary key,
    owner text not null,
    until integer not null,
    -- Grows whenever the duty changes hands; what is marked must name it.
    fence integer not null,
    -- How far the work has come, in the duty's own measure.
    mark integer not null
) strict, without rowid;

-- Sends a day, counted in the transaction that commits to one: by desk (with an empty subject) and by address (the nil desk and
-- the address's keyed hash). Nothing above the store can pass a ceiling.
create table ceilings (
    desk_id blob not null,
    subject blob not null,
    day integer not null,
    n integer not null,
    primary key (desk_id, subject, day)
) strict, without rowid;

-- Texts that came and belonged to no request, so that none is taken for an answer to a later one when it is listed again.
create table strays (
    provider text not null,
    provider_id text not null,
    at integer not null,
    primary key (provider, provider_id)
) strict, without rowid;

create index strays_at on strays (at);

-- What came back, as it came. Keyed by the request first: a table-wide unique index on the provider's random ids would
-- dirty one page per reply, and a repeated webhook finds the same request as long as that waits for replies.
create table replies (
    desk_id blob not null,
    request_id blob not null,
    provider_id text not null,
    id blob not null,
    kind text not null,
    grade text not null,
    raw blob not null,
    effect text not null,
    received_at integer not null,
    primary key (desk_id, request_id, provider_id)
) strict, without rowid;

-- The counted answer of a request.
create table ratings (
    desk_id blob not null,
    id blob not null,
    request_id blob not null,
    score integer not null check (score between 1 and 5),
    grade text not null,
    comment text not null,
    answered_at integer not null,
    changed_at integer not null,
    elapsed_ms integer not null,
    primary key (desk_id, id)
) strict, without rowid;

-- One rating per request, whatever races.
create unique index ratings_request on ratings (desk_id, request_id);

-- Who does not want to be asked; the nil desk means every desk. Survives the erasure of the person as a keyed hash.
create table opt_outs (
    desk_id blob not null,
    channel text not null,
    address_hash blob not null,
    origin text not null,
    at integer not null,
    primary key (desk_id, channel, address_hash)
) strict, without rowid;

-- START comes from an address and does not name a desk.
create index opt_outs_address on opt_outs (address_hash);

-- What happened: the outbox, and at the same time the deltas of the totals until they are folded.
create table events (
    desk_id blob not null,
    id blob not null,
    request_id blob not null,
    kind text not null,
    at integer not null,
    channel text not null,
    touchpoint text not null,
    entered integer not null,
    reason text not null,
    score integer not null,
    bucket integer not null,
    elapsed_ms integer not null,
    folded integer not null,
    primary key (desk_id, id)
) strict, without rowid;

-- What is not folded yet: as large as the backlog of the folder.
create index events_pending on events (desk_id, id) where folded = 0;

-- Folded sums. Never fall: nothing that is erased or expires takes from them.
create table totals (
    desk_id blob not null,
    kind text not null,
    channel text not null,
    touchpoint text not null,
    entered integer not null,
    reason text not null,
    score integer not null,
    bucket integer not null,
    n integer not null,
    elapsed_ms integer not null,
    first_at integer not null,
    primary key (desk_id, kind, channel, touchpoint, entered, reason, score, bucket)
) strict, without rowid;
