-- what:   the one spelling of a code, by its coding system, as `cohort.codes.normalise` spells the codes of codelists:
--         upper case, without dots, hyphens, blanks and what cannot be seen; HCPCS and CPT without a modifier behind a hyphen (97110-GP);
--         NDC in eleven digits (5-4-2), hyphenated ones padded segment by segment, others on the left, but nine digits
--         stay a product (5-4). Null where nothing is left. Letters beyond ASCII, which no system has, keep their case
--         as the engine sees it
-- grain:  a function of one code
-- reads:  nothing
-- params: code, system = one of the dictionary's systems
-- source: the data dictionary; FDA, National Drug Code Database background (4-4-2, 5-3-2, 5-4-1)
create macro spelled_code(code, system) as case
    when system = 'ndc' then case
        when not regexp_matches(code, '[0-9]') then null
        when contains(code, '-') then list_reduce(list_transform(
            list_zip(string_split(regexp_replace(code, '[^0-9-]', '', 'g'), '-')[1:3], [5, 4, 2], true),
            lambda segment: repeat('0', segment[2] - length(segment[1])) || segment[1]
        ), lambda before, segment: before || segment)
        when length(regexp_replace(code, '[^0-9]', '', 'g')) = 9 then regexp_replace(code, '[^0-9]', '', 'g')
        else repeat('0', 11 - length(regexp_replace(code, '[^0-9]', '', 'g'))) || regexp_replace(code, '[^0-9]', '', 'g')
        end
    else nullif(upper(regexp_replace(
        case when system in ('hcpcs', 'cpt') then regexp_replace(code, '-[^\n]*$', '') else code end,
        '[.\-\x{9}-\x{d} \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{ad}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{feff}]', '', 'g'
    )), '')
end
