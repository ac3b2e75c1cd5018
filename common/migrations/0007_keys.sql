-- Keys made through the API, beside those of the environment. Written by the dispatcher.
alter table api_keys
    -- What people call it.
    add column label text check (char_length(label) between 1 and 128),
    -- All there were so far came from the environment.
    add column source text not null default 'environment' check (source in ('environment', 'api'));
create index api_keys_principal on api_keys (principal);
