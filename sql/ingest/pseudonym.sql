-- what:   the pseudonym of every identifier: first 63 bits of HMAC-SHA-256; and whether the identifier holds characters that cannot be seen (control, zero-width, direction marks,
--         no-break blanks), which two deliveries may spell differently
-- grain:  one row per identifier
-- reads:  identifier (person: text, trimmed, distinct)
-- params: $inner, $outer = the key xor the pads of RFC 2104, 64 bytes each
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
    regexp_matches(person, '[\x{00}-\x{1f}\x{7f}-\x{a0}\x{ad}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2064}\x{feff}]')
        as unclean
from keyed
