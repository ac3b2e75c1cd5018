-- The last number of a session that ended: it may be heard again, and its numbers go on. Written by the distributor.
alter table ended_sessions add column seq bigint;
