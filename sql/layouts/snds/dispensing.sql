-- what:   packs dispensed (ER_PHA_F) in ATC where the reference of drugs knows the class, else by CIP; units handed out
--         by hospitals (ER_UCD_F) and drugs paid beside a stay (on its first day) by UCD, the last 7 of its 13 digits.
--         Packs and units of one person, day and code are added up, so that a correction (a negative quantity)
--         takes back what it corrects; where nothing is left nothing was dispensed. Days of supply are not recorded; sums are
--         taken in decimals, whose order does not matter
-- grain:  one row per person, day and code
-- reads:  extract.er_pha, extract.er_ucd, extract.prestation, extract.ir_pha, extract.stay_code
-- params: none
-- source: SNDS data dictionary; the nine columns that join the tables of the DCIR
with class as (
    select PHA_CIP_C13, max(PHA_ATC_CLA) as atc from extract.ir_pha group by PHA_CIP_C13
), handed_out as (
    select
        NUM_ENQ as person,
        day as date,
        case when class.atc is null then 'cip' else 'atc' end as system,
        coalesce(class.atc, PHA_PRS_C13) as code,
        PHA_ACT_QSN as quantity
    from extract.er_pha
    join extract.prestation using (
        DCT_ORD_NUM, FLX_DIS_DTD, FLX_EMT_NUM, FLX_EMT_ORD, FLX_EMT_TYP, FLX_TRT_DTD, ORG_CLE_NUM, PRS_ORD_NUM,
        REM_TYP_AFF
    )
    left join class on class.PHA_CIP_C13 = PHA_PRS_C13
    union all
    select NUM_ENQ, day, 'ucd', right(UCD_UCD_COD, 7), UCD_DLV_NBR
    from extract.er_ucd
    join extract.prestation using (
        DCT_ORD_NUM, FLX_DIS_DTD, FLX_EMT_NUM, FLX_EMT_ORD, FLX_EMT_TYP, FLX_TRT_DTD, ORG_CLE_NUM, PRS_ORD_NUM,
        REM_TYP_AFF
    )
    union all
    select person, first_day, system, code, quantity
    from extract.stay_code
    where system = 'ucd'
)
select person, date, system, code, sum(quantity::decimal(18, 4))::double as quantity
from handed_out
where code is not null
group by person, date, system, code
having sum(quantity::decimal(18, 4)) > 0 or count(quantity) = 0
