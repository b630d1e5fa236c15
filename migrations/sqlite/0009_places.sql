-- An event is written once. It gets its place as it is committed: whoever commits holds the stream of the desk until then, so places
-- are in the order of commits and nobody who reads on passes by one. What is folded is what stands before a mark in the stream.

-- What waited for its place gets it.
update events set seq = t.place from (
    select e.desk_id, e.id, coalesce(s.seq, 0) + row_number() over (partition by e.desk_id order by e.id) as place
    from events e left join streams s on s.desk_id = e.desk_id where e.seq = 0
) t where events.desk_id = t.desk_id and events.id = t.id;
insert into streams (desk_id, seq) select desk_id, max(seq) from events where seq > 0 group by desk_id
    on conflict (desk_id) do update set seq = max(streams.seq, excluded.seq);
drop index events_unplaced;

-- The totals are one more that reads the streams: their mark stands before the first event that is in no sum yet.
insert into sink_marks (desk_id, sink, seq) select s.desk_id, 'totals',
    coalesce((select min(e.seq) - 1 from events e where e.desk_id = s.desk_id and e.folded = 0), s.seq) from streams s;
drop index events_pending;
-- 1 for what was folded before there was a mark, and may stand behind it. Under another name, so that no older version that still
-- runs folds what is folded here: its writes are refused.
alter table events rename column folded to folded_early;
