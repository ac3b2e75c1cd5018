-- Which account at the broker an account's signals are for; null: the first that its terminal names.
alter table accounts add column login bigint check (login > 0);
-- The run of the terminal that took a claim: what it does not know it never received.
alter table signals add column claim_session text;
