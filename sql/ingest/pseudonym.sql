-- what:   the pseudonym of every identifier: first 63 bits of HMAC-SHA-256; its bucket, as `cohort.store.tables.bucket`
--         deals them; the person's number by bucket and pseudonym, which stands for the person until rows are stored;
--         whether two deliveries may spell it differently (it holds characters that cannot be seen: control, zero-width,
--         direction marks, blanks beyond ASCII; or composed of parts, as in Unicode's NFD); and whether it is what a
--         spreadsheet leaves of a long number (1.2E+11), which may stand for many persons
-- grain:  one row per identifier
-- reads:  identifier (person: text, trimmed, distinct)
-- params: $inner, $outer = the key xor the pads of RFC 2104, 64 bytes each; $lanes, $buckets = number of each
-- source: RFC 2104 (HMAC), FIPS 180-4 (SHA-256)
with keyed as (
    select
        person,
        (('0x' || sha256($outer || unhex(sha256($inner || encode(person))))[1:16])::ubigint >> 1)::bigint as person_id
    from identifier
)
select
    person,
    person_id,
    person <> nfc_normalize(person) or regexp_matches(
        person,
        '[\x{00}-\x{1f}\x{7f}-\x{a0}\x{ad}\x{1680}\x{180e}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}\x{3000}\x{feff}]'
    ) as unclean,
    regexp_full_match(person, '[0-9]([.,][0-9]+)?E\+[0-9]+') as rounded,
    (person_id % $lanes % $buckets)::smallint as bucket,
    row_number() over (order by person_id % $lanes % $buckets, person_id) - 1 as number
from keyed
