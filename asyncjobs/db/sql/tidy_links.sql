-- Tidy the links of chains; see asyncjobs.tidy_links.
-- $1 the last job that was read before, null: none  $2 number of links  $3 days for which jobs that end are kept
-- Rows: one; the last job that was read, null: there are no more.
select asyncjobs.tidy_links($1::uuid, $2::integer, $3::integer) as last
