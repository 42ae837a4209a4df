-- what:   pharmacy claim lines with what each does to its claim: a negative amount takes its line back
-- grain:  one row per line of pharmacy_claim
-- reads:  extract.pharmacy_claim
-- params: none
-- source: Tuva input layer, pharmacy_claim; our rule
select
    *,
    person_id as person,
    payer as claim_payer,
    claim_line_number as claim_line,
    paid_date as claim_version,
    case when paid_amount[1] in ('-', '(') or paid_amount[-1] = '-' then 'void' else 'original' end as claim_action
from extract.pharmacy_claim
