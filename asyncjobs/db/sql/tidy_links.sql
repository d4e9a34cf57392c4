-- Look after the links of chains; see asyncjobs.tidy_links.
-- $1 the last job that was looked at before, null: none  $2 so many  $3 days that what ends is kept
-- Rows: one; the last job that was looked at, null: there are no more.
select asyncjobs.tidy_links($1::uuid, $2::integer, $3::integer) as last
