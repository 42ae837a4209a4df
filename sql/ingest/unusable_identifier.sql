-- what:   why an identifier stands for nobody in particular, null if it does: `invisible_character`, if two deliveries may
--         spell it differently (it holds characters that cannot be seen: control, zero-width, direction marks, blanks
--         beyond ASCII; or composed of parts, as in Unicode's NFD); `rounded_number`, if it is what a spreadsheet leaves
--         of a long number (1.2E+11), which may stand for many persons
-- grain:  a function of one identifier, trimmed
-- reads:  nothing
-- params: identifier
-- source: Unicode Standard Annex 15 (normalization forms)
create macro unusable_identifier(identifier) as case
    when identifier <> nfc_normalize(identifier) or regexp_matches(
        identifier,
        '[\x{00}-\x{1f}\x{7f}-\x{a0}\x{ad}\x{1680}\x{180e}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}\x{3000}\x{feff}]'
    ) then 'invisible_character'
    when contains(identifier, 'E+') and regexp_full_match(identifier, '[0-9]([.,][0-9]+)?E\+[0-9]+') then 'rounded_number'
end
