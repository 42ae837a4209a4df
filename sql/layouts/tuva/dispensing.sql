-- what:   dispensings by NDC in the 11 digits (5-4-2) of billing: 1234-5678-90 and 12345-678-90 become 01234567890
--         and 12345067890; a code without hyphens stands as it is, for which digit ten of them lack nobody can say
-- grain:  one row per line of pharmacy_claim with a code
-- reads:  extract.pharmacy_claim
-- params: none
-- source: Tuva input layer, pharmacy_claim; 45 CFR 162.1002 (NDC); FDA, National Drug Code Database background
select
    person_id as person,
    dispensing_date as date,
    'ndc' as system,
    case when contains(ndc_code, '-')
        then lpad(split_part(ndc_code, '-', 1), 5, '0') || lpad(split_part(ndc_code, '-', 2), 4, '0')
            || lpad(split_part(ndc_code, '-', 3), 2, '0')
        else ndc_code
    end as code,
    quantity,
    days_supply
from extract.pharmacy_claim
where ndc_code is not null
