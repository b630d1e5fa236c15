-- What is kept about a person is kept sealed, for as long as it is needed, and can be listed, given out and erased.

-- The address of an opt-out, sealed with the reason that the desk gave, so that a desk's list can be given out. Empty where the wish
-- holds for every desk (a desk sees the address of such a wish in its own requests only) and once the person was erased.
alter table opt_outs add column contact bytea not null default '\x';

-- How far the walks over all rows of a desk have come: what is resealed with a newer key, and what is forgotten after its time.
create table walks (
    desk_id uuid not null,
    name text not null,
    -- For what it was walked: the name of a key; empty where there is no end.
    goal text not null,
    stage text not null,
    -- The last place that was looked at, in the walk's own form; empty before the first.
    reached bytea not null,
    -- Values that are still to be done, as far as they were counted.
    n bigint not null,
    primary key (desk_id, name)
);

-- Everything about one person, for the rules that count it, for giving it out and for erasing it.
create index if not exists requests_address on requests (desk_id, address_hash, due_at);
-- Raw replies by age. Partial: as large as what is not forgotten yet; paid once a reply, at the end of the index.
create index replies_kept on replies (desk_id, id) where raw <> '\x';

-- What a contact said not to want, under the desk's own id of the person (a keyed hash), so that it holds at their other addresses too;
-- with the address at which it was said, because START comes from there. Survives the erasure of the person, and shows nobody.
create table person_opt_outs (
    desk_id uuid not null,
    contact_hash bytea not null,
    address_hash bytea not null,
    at bigint not null,
    primary key (desk_id, contact_hash, address_hash)
);

-- START comes from an address and does not name a desk.
create index person_opt_outs_address on person_opt_outs (address_hash);

-- Links of asks that name nobody any more: whoever has such a mail may still say that they do not want another. It leads to that and to
-- nothing else: no request, no rating.
create table kept_links (
    desk_id uuid not null,
    link_hash bytea not null,
    channel text not null,
    address_hash bytea not null,
    -- The same as that of the address if the desk gave no id.
    contact_hash bytea not null,
    -- When it was asked.
    at bigint not null,
    primary key (desk_id, link_hash)
);

-- A link names no desk.
create index kept_links_link on kept_links (link_hash);
-- What is old enough to be forgotten.
create index kept_links_at on kept_links (at);
