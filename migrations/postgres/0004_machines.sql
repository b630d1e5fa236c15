-- Machines that open mails: each showing of the rating page, who gave an answer, answers that are kept and not counted, and what
-- managers did to ratings.

-- A showing of a page to a client. Few for each request, whoever opens it how often: see domain::view.
create table views (
    desk_id uuid not null,
    request_id uuid not null,
    id uuid not null,
    at bigint not null,
    kind text not null,
    -- The score that the link offered; 0 for none.
    score bigint not null,
    -- Keyed hashes that are different for every link: of network and user agent, and of the page's cookie.
    network bytea not null,
    cookie bytea not null,
    -- Showings that have no row of their own.
    more bigint not null,
    -- Posts from this showing: its one-time value names the number of those before it.
    uses bigint not null,
    used_at bigint not null,
    primary key (desk_id, request_id, id)
);

-- To forget old ones in small steps, oldest first.
create index views_at on views (at);

-- The client of the page that gave the rating; empty where the channel proves the contact.
alter table ratings add column client bytea not null default '\x';
-- That a manager took it out of the reports: when, who and why; 0 and empty if not.
alter table ratings add column excluded_at bigint not null default 0;
alter table ratings add column excluded_by text not null default '';
alter table ratings add column excluded_reason text not null default '';

-- Of a post of our page: its score, its client and the signs of a machine that it gave.
alter table replies add column score bigint not null default 0;
alter table replies add column client bytea not null default '\x';
alter table replies add column signs text not null default '';

-- Answers that are kept and not counted: pages of a desk, and one of them by its identifier. As large as what machines sent.
create unique index replies_held on replies (desk_id, id) where grade in ('auto', 'suspect');

-- What managers did to ratings, in order; never changed.
create table rating_log (
    desk_id uuid not null,
    rating_id uuid not null,
    n bigint not null,
    at bigint not null,
    -- excluded, restored or released.
    act text not null,
    actor text not null,
    reason text not null,
    primary key (desk_id, rating_id, n)
);
