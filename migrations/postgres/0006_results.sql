-- Results: sums by what a desk asks about, and what is done about low scores.

-- What the words of the ask are called, such as `de` or `de/own/vpn`; empty for requests from before this column.
alter table requests add column wording text not null default '';

-- The grade of the first answer, where another one took its place; empty where none did. What was counted under it stays there.
alter table ratings add column first_grade text not null default '';

-- 1 while a request has no rating and answers that are kept and not counted.
alter table requests add column held_back bigint not null default 0;

-- Sums of conversations before that instant know no agents: they were forgotten, and what still comes to those goes to nobody's.
alter table desks add column agents_until bigint not null default 0;

-- Sums know nothing of the requests before them: those stay out of them, whatever comes of them yet.
insert into duties (name, owner, until, fence, mark) select 'sums', '', 0, 0, coalesce(max(created_at), 0) from requests;

-- What requests and ratings add up to, by when the conversation ended and by the snapshot of who served. A request stays in its
-- rows for good; events are deltas to them, folded together with the totals. `level` tells which of the dimensions are filled
-- and how long `at` lasts (see domain::statistics::grouping): a coarse level stays small however many requests there are.
-- `reason` is that of requests not made, otherwise empty; `suppressed_later` counts those that were scheduled before. `s1` to `s5` are
-- ratings that count now, `t0` to `t21` first answers by the time they took.
create table rollups (
    desk_id uuid not null,
    level bigint not null,
    at bigint not null,
    channel text not null,
    team text not null,
    queue text not null,
    touchpoint text not null,
    phase text not null,
    language text not null,
    agent text not null,
    topic text not null,
    wording text not null,
    reason text not null,
    scheduled bigint not null,
    suppressed bigint not null,
    sent bigint not null,
    delivered bigint not null,
    reached bigint not null,
    answered bigint not null,
    expired bigint not null,
    cancelled bigint not null,
    failed bigint not null,
    suppressed_later bigint not null,
    s1 bigint not null,
    s2 bigint not null,
    s3 bigint not null,
    s4 bigint not null,
    s5 bigint not null,
    by_channel bigint not null,
    by_tap bigint not null,
    by_auto bigint not null,
    by_suspect bigint not null,
    taken_out bigint not null,
    suspect bigint not null,
    comments bigint not null,
    t0 bigint not null,
    t1 bigint not null,
    t2 bigint not null,
    t3 bigint not null,
    t4 bigint not null,
    t5 bigint not null,
    t6 bigint not null,
    t7 bigint not null,
    t8 bigint not null,
    t9 bigint not null,
    t10 bigint not null,
    t11 bigint not null,
    t12 bigint not null,
    t13 bigint not null,
    t14 bigint not null,
    t15 bigint not null,
    t16 bigint not null,
    t17 bigint not null,
    t18 bigint not null,
    t19 bigint not null,
    t20 bigint not null,
    t21 bigint not null,
    -- Who served comes right after the time: an answer about one agent reads that one's sums of each day and no others.
    primary key (desk_id, level, at, agent, channel, team, queue, touchpoint, phase, language, topic, wording, reason)
);

-- A low score that somebody should care for, and when each step was done.
create table follow_ups (
    desk_id uuid not null,
    id uuid not null,
    rating_id uuid not null,
    request_id uuid not null,
    score bigint not null,
    state text not null,
    owner text not null,
    told_note text not null,
    close_note text not null,
    -- Why it is closed: by somebody, because the contact corrected the score, or because a manager took the rating out.
    closed_by text not null,
    opened_at bigint not null,
    taken_at bigint not null,
    told_at bigint not null,
    closed_at bigint not null,
    primary key (desk_id, id)
);

-- One open follow-up a rating; also finds it when the score is corrected. As large as what is open.
create unique index follow_ups_open on follow_ups (desk_id, rating_id) where state <> 'closed';
-- Pages of those in one state: open ones are few among closed ones.
create index follow_ups_state on follow_ups (desk_id, state, id);

-- What was ever done about a rating: a rating that is put back opens its low score again unless somebody had closed it.
create index follow_ups_rating on follow_ups (desk_id, rating_id);

-- Since when the totals count. Moved by whoever puts the database back from a copy.
insert into duties (name, owner, until, fence, mark) values ('epoch', '', 0, 0, cast(extract(epoch from now()) as bigint) * 1000);
