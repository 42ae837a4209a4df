-- what:   amounts paid by the payer, on the day of the line, or of its claim. A minus in front or behind, or brackets, make
--         an amount negative; what is no number counts for nothing
-- grain:  one row per standing line of medical_claim and pharmacy_claim
-- reads:  extract.medical_line, extract.pharmacy_line
-- params: none
-- source: Tuva input layer, medical_claim and pharmacy_claim, paid_amount
with paid as (
    select
        person,
        coalesce(claim_line_start_date, claim_start_date) as date,
        'medical' as service,
        paid_amount
    from extract.medical_line
    union all
    select person, dispensing_date, 'pharmacy', paid_amount
    from extract.pharmacy_line
)
select
    person,
    date,
    service,
    (100 * coalesce(
        try_cast(paid_amount as decimal(18, 2)),  -- nearly all, and many times faster than what the others need
        case when regexp_matches(paid_amount, '^[-(]|-$') then -1 else 1 end
            * try_cast(regexp_replace(paid_amount, '[-()$, ]', '', 'g') as decimal(18, 2))
    ))::bigint as amount
from paid
