-- What was said about a person is found by the request that it belongs to: to be given out, sealed anew and forgotten.

-- Words in events. Partial: as large as what was said and is not forgotten yet; events without words pay nothing.
create index events_said on events (desk_id, request_id) where detail <> '\x';
-- Follow-ups of a request. Low scores are few.
create index follow_ups_request on follow_ups (desk_id, request_id);
-- Notes by their age, oldest first: they are written long after their follow-up was opened. As large as what is not forgotten yet.
create index follow_ups_told on follow_ups (desk_id, told_at) where told_note <> '';
create index follow_ups_noted on follow_ups (desk_id, closed_at) where close_note <> '';
