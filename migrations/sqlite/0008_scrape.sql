-- Reading the totals costs what has changed since they were last read, and not what there is.

-- The number of the fold that wrote the sum last.
alter table totals add column changed integer not null default 0;
-- What changed since a fold: as a rule the sums of the last few seconds. Written once a sum and fold, not once an event.
create index totals_changed on totals (changed);

-- How many folds there were. Whoever folds takes the next number and holds the row until it has committed, so that numbers become
-- visible in their order.
insert into duties (name, owner, until, fence, mark) values ('folds', '', 0, 0, 0);
