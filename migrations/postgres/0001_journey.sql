-- The schema, in the order in which the data walks. Rules that keep partitions and distributed engines open: every
-- primary key but those of desks, duties and strays starts with desk_id (indexes for what names no desk, such as a link, a callback or a worker's
-- queue, do not), identifiers are UUIDv7 made by us, instants are
-- milliseconds UTC, no sequences, no triggers, no nullable columns; "none" is 0 or the empty text.

-- A tenant.
create table desks (
    id uuid not null primary key,
    slug text not null unique,
    name text not null,
    settings text not null,
    created_at bigint not null
);

-- Keys are kept as SHA-256; the handle is the part of the key that finds the row.
create table api_keys (
    desk_id uuid not null,
    id uuid not null,
    handle text not null unique,
    hash bytea not null,
    scopes text not null,
    created_at bigint not null,
    revoked_at bigint not null,
    primary key (desk_id, id)
);

-- One ask for one resolution, with the decision, the snapshot of who served, the fingerprint for idempotency and the state
-- of its delivery: one row, so that a trigger costs two (this and its event).
create table requests (
    desk_id uuid not null,
    id uuid not null,
    channel text not null,
    sender text not null,
    -- Keyed hash of our address and theirs (and the desk, where a reply names its request).
    pair_key bytea not null,
    -- 1 while a reply from the pair belongs to this request.
    listening bigint not null,
    listen_until bigint not null,
    address_hash bytea not null,
    contact_hash bytea not null,
    -- The person, sealed as one piece: erasing it erases the person.
    contact bytea not null,
    conversation text not null,
    resolution text not null,
    -- The resolution while this request stands for it; otherwise a text that no resolution can be.
    slot text not null,
    idempotency_key bytea not null,
    fingerprint bytea not null,
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
    switches bigint not null,
    mail text not null,
    metadata text not null,
    state text not null,
    reason text not null,
    created_at bigint not null,
    due_at bigint not null,
    expires_at bigint not null,
    sent_at bigint not null,
    delivered_at bigint not null,
    reached_at bigint not null,
    answered_at bigint not null,
    ended_at bigint not null,
    -- Hash of the token in its link; empty where the channel has none.
    link_hash bytea not null,
    delivery text not null,
    delivery_code text not null,
    attempts bigint not null,
    next_at bigint not null,
    lease_owner text not null,
    lease_until bigint not null,
    fence bigint not null,
    primary key (desk_id, id)
);

-- One request stands for one resolution; also finds the requests of a conversation.
create unique index requests_resolution on requests (desk_id, conversation, slot);
-- A desk's own idempotency keys. Partial: most triggers have none and pay nothing.
create unique index requests_idempotency on requests (desk_id, idempotency_key) where idempotency_key <> '\x';
-- One open request per pair of addresses, and the way from a reply to its request: one probe. Without desk_id, because a
-- telephone number cannot tell desks apart. Partial: as large as what is open, not as what was ever asked.
create unique index requests_listening on requests (pair_key) where listening = 1;
-- From a link to its request.
create unique index requests_link on requests (link_hash) where link_hash <> '\x';
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
    desk_id uuid not null,
    request_id uuid not null,
    n bigint not null,
    token_hash bytea not null,
    provider text not null,
    provider_id text not null,
    state text not null,
    code text not null,
    started_at bigint not null,
    ended_at bigint not null,
    -- What its text is known by in the provider's list; empty where there is no list.
    body_hash bytea not null,
    -- When its message goes out, for a second one that waits at the provider; otherwise 0.
    send_at bigint not null,
    -- When it is looked after next; 0 for never. Then how many looks were answered, how many of them found nothing, and since when.
    check_at bigint not null,
    looks bigint not null,
    absent bigint not null,
    absent_since bigint not null,
    primary key (desk_id, request_id, n)
);

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
    until bigint not null,
    -- Grows whenever the duty changes hands; what is marked must name it.
    fence bigint not null,
    -- How far the work has come, in the duty's own measure.
    mark bigint not null
);

-- Sends a day, counted in the transaction that commits to one: by desk (with an empty subject) and by address (the nil desk and
-- the address's keyed hash). Nothing above the store can pass a ceiling.
create table ceilings (
    desk_id uuid not null,
    subject bytea not null,
    day bigint not null,
    n bigint not null,
    primary key (desk_id, subject, day)
);

-- Texts that came and belonged to no request, so that none is taken for an answer to a later one when it is listed again.
create table strays (
    provider text not null,
    provider_id text not null,
    at bigint not null,
    primary key (provider, provider_id)
);

create index strays_at on strays (at);

-- What came back, as it came. Keyed by the request first: a table-wide unique index on the provider's random ids would
-- dirty one page per reply, and a repeated webhook finds the same request as long as that waits for replies.
create table replies (
    desk_id uuid not null,
    request_id uuid not null,
    provider_id text not null,
    id uuid not null,
    kind text not null,
    grade text not null,
    raw bytea not null,
    effect text not null,
    received_at bigint not null,
    primary key (desk_id, request_id, provider_id)
);

-- The counted answer of a request.
create table ratings (
    desk_id uuid not null,
    id uuid not null,
    request_id uuid not null,
    score bigint not null check (score between 1 and 5),
    grade text not null,
    comment text not null,
    answered_at bigint not null,
    changed_at bigint not null,
    elapsed_ms bigint not null,
    primary key (desk_id, id)
);

-- One rating per request, whatever races.
create unique index ratings_request on ratings (desk_id, request_id);

-- Who does not want to be asked; the nil desk means every desk. Survives the erasure of the person as a keyed hash.
create table opt_outs (
    desk_id uuid not null,
    channel text not null,
    address_hash bytea not null,
    origin text not null,
    at bigint not null,
    primary key (desk_id, channel, address_hash)
);

-- START comes from an address and does not name a desk.
create index opt_outs_address on opt_outs (address_hash);

-- What happened: the outbox, and at the same time the deltas of the totals until they are folded.
create table events (
    desk_id uuid not null,
    id uuid not null,
    request_id uuid not null,
    kind text not null,
    at bigint not null,
    channel text not null,
    touchpoint text not null,
    entered bigint not null,
    reason text not null,
    score bigint not null,
    bucket bigint not null,
    elapsed_ms bigint not null,
    folded bigint not null,
    primary key (desk_id, id)
);

-- What is not folded yet: as large as the backlog of the folder.
create index events_pending on events (desk_id, id) where folded = 0;

-- Folded sums. Never fall: nothing that is erased or expires takes from them.
create table totals (
    desk_id uuid not null,
    kind text not null,
    channel text not null,
    touchpoint text not null,
    entered bigint not null,
    reason text not null,
    score bigint not null,
    bucket bigint not null,
    n bigint not null,
    elapsed_ms bigint not null,
    first_at bigint not null,
    primary key (desk_id, kind, channel, touchpoint, entered, reason, score, bucket)
);
