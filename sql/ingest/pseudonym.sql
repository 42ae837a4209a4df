-- what:   the pseudonym of every identifier: first 63 bits of HMAC-SHA-256
-- grain:  one row per identifier
-- reads:  identifier (person: text, trimmed, distinct)
-- params: $inner, $outer = the key xor the pads of RFC 2104, 64 bytes each
-- source: RFC 2104 (HMAC), FIPS 180-4 (SHA-256)
select
    person,
    (('0x' || sha256($outer || unhex(sha256($inner || encode(person))))[1:16])::ubigint >> 1)::bigint as person_id
from identifier
