-- what:   dispensings by NDC, which the loader writes in the 11 digits (5-4-2) of billing
-- grain:  one row per standing line of pharmacy_claim with a code
-- reads:  extract.pharmacy_line
-- params: none
-- source: Tuva input layer, pharmacy_claim; 45 CFR 162.1002 (NDC)
select
    person_id as person,
    dispensing_date as date,
    'ndc' as system,
    ndc_code as code,
    quantity,
    days_supply
from extract.pharmacy_line
where ndc_code is not null
