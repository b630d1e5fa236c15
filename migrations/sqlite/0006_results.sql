-- Results: sums by what a desk asks about, and what is done about low scores.

-- What the words of the ask are called, such as `de` or `de/own/vpn`; empty for requests from before this column.
alter table requests add column wording text not null default '';

-- The grade of the first answer, where another one took its place; empty where none did. What was counted under it stays there.
alter table ratings add column first_grade text not null default '';

-- 1 while a request has no rating and answers that are kept and not counted.
alter table requests add column held_back integer not null default 0;

-- Sums of conversations before that instant know no agents: they were forgotten, and what still comes to those goes to nobody's.
alter table desks add column agents_until integer not null default 0;

-- Sums know nothing of the requests before them: those stay out of them, whatever comes of them yet.
insert into duties (name, owner, until, fence, mark) select 'sums', '', 0, 0, coalesce(max(created_at), 0) from requests;

-- What requests and ratings add up to, by when the conversation ended and by the snapshot of who served. A request stays in its
-- rows for good; events are deltas to them, folded together with the totals. `level` tells which of the dimensions are filled
-- and how long `at` lasts (see domain::statistics::grouping): a coarse level stays small however many requests there are.
-- `reason` is that of requests not made, otherwise empty; `suppressed_later` counts those that were scheduled before. `s1` to `s5` are
-- ratings that count now, `t0` to `t21` first answers by the time they took.
create table rollups (
    desk_id blob not null,
    level integer not null,
    at integer not null,
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
    scheduled integer not null,
    suppressed integer not null,
    sent integer not null,
    delivered integer not null,
    reached integer not null,
    answered integer not null,
    expired integer not null,
    cancelled integer not null,
    failed integer not null,
    suppressed_later integer not null,
    s1 integer not null,
    s2 integer not null,
    s3 integer not null,
    s4 integer not null,
    s5 integer not null,
    by_channel integer not null,
    by_tap integer not null,
    by_auto integer not null,
    by_suspect integer not null,
    taken_out integer not null,
    suspect integer not null,
    comments integer not null,
    t0 integer not null,
    t1 integer not null,
    t2 integer not null,
    t3 integer not null,
    t4 integer not null,
    t5 integer not null,
    t6 integer not null,
    t7 integer not null,
    t8 integer not null,
    t9 integer not null,
    t10 integer not null,
    t11 integer not null,
    t12 integer not null,
    t13 integer not null,
    t14 integer not null,
    t15 integer not null,
    t16 integer not null,
    t17 integer not null,
    t18 integer not null,
    t19 integer not null,
    t20 integer not null,
    t21 integer not null,
    -- Who served comes right after the time: an answer about one agent reads that one's sums of each day and no others.
    primary key (desk_id, level, at, agent, channel, team, queue, touchpoint, phase, language, topic, wording, reason)
) strict, without rowid;

-- A low score that somebody should care for, and when each step was done.
create table follow_ups (
    desk_id blob not null,
    id blob not null,
    rating_id blob not null,
    request_id blob not null,
    score integer not null,
    state text not null,
    owner text not null,
    told_note text not null,
    close_note text not null,
    -- Why it is closed: by somebody, because the contact corrected the score, or because a manager took the rating out.
    closed_by text not null,
    opened_at integer not null,
    taken_at integer not null,
    told_at integer not null,
    closed_at integer not null,
    primary key (desk_id, id)
) strict, without rowid;

-- One open follow-up a rating; also finds it when the score is corrected. As large as what is open.
create unique index follow_ups_open on follow_ups (desk_id, rating_id) where state <> 'closed';
-- Pages of those in one state: open ones are few among closed ones.
create index follow_ups_state on follow_ups (desk_id, state, id);

-- What was ever done about a rating: a rating that is put back opens its low score again unless somebody had closed it.
create index follow_ups_rating on follow_ups (desk_id, rating_id);

-- Since when the totals count. Moved by whoever puts the database back from a copy.
insert into duties (name, owner, until, fence, mark) values ('epoch', '', 0, 0, cast(strftime('%s', 'now') as integer) * 1000);
