-- what:   medical claim lines with what each does to its claim. Institutional claims say it in the third digit of the
--         type of bill (7 replaces the claim, 8 voids it). A negative amount takes its line back, except on an
--         institutional bill with no positive amount for that line: Medicare pays negative amounts where the
--         deductible exceeds the payment
-- grain:  one row per line of medical_claim
-- reads:  extract.medical_claim, codes.claim_action
-- params: none
-- source: NUBC UB-04 form locator 4; Tuva input layer, medical_claim; our rule
with signed as (
    select *, coalesce(paid_amount[1] in ('-', '(') or paid_amount[-1] = '-', false) as negative
    from extract.medical_claim
), taken_back as (
    select distinct person_id, claim_id, claim_line_number from signed where negative
), paid_before as (
    select distinct signed.person_id, signed.claim_id, signed.claim_line_number
    from signed
    semi join taken_back
        on taken_back.person_id = signed.person_id and taken_back.claim_id = signed.claim_id
        and taken_back.claim_line_number is not distinct from signed.claim_line_number
    where not signed.negative and signed.paid_amount is not null
)
select
    signed.* exclude (negative),
    signed.person_id as person,
    signed.payer as claim_payer,
    case when action.action is distinct from 'void' then signed.claim_line_number end as claim_line,
    signed.paid_date as claim_version,
    case
        when action.action is not null then action.action
        when signed.negative and (signed.claim_type is distinct from 'institutional' or paid_before.claim_id is not null)
            then 'void'
        else 'original'
    end as claim_action
from signed
left join codes.claim_action as action
    on action.kind = 'frequency' and action.code = ltrim(signed.bill_type_code, '0')[3:3]
    and signed.claim_type is distinct from 'professional'
left join paid_before
    on paid_before.person_id = signed.person_id and paid_before.claim_id = signed.claim_id
    and paid_before.claim_line_number is not distinct from signed.claim_line_number
