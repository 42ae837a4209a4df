-- what:   a second keyed number of every identifier: the next 63 bits of the HMAC-SHA-256 that its pseudonym is the first
--         63 of. Two identifiers with one pseudonym differ in it, so a collision with a person of an earlier extract is
--         seen although the earlier identifier is not kept
-- grain:  one row per identifier
-- reads:  pseudonym (person, person_id)
-- params: $inner, $outer = the key xor the pads of RFC 2104, 64 bytes each
-- source: RFC 2104 (HMAC), FIPS 180-4 (SHA-256)
select
    person_id,
    (('0x' || sha256($outer || unhex(sha256($inner || encode(person))))[17:32])::ubigint >> 1)::bigint as witness
from pseudonym
where person is not null
order by person_id
