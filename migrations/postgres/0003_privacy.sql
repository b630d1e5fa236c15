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
