-- what:   packs dispensed, added up per person, day and drug, so that a return (a negative number of packs) takes back
--         what it returns. Days of supply are not recorded: one defined daily dose a day is assumed, as is usual in
--         studies of these registers; sums are taken in decimals, whose order does not matter
-- grain:  one row per person, day and ATC code
-- reads:  extract.prescribed_drugs
-- params: none
-- source: National Board of Health and Welfare, Prescribed Drug Register (EDATUM, ATC, ANTAL, forpddd); WHO
--         Collaborating Centre for Drug Statistics Methodology (defined daily dose)
select
    LopNr as person,
    EDATUM as date,
    'atc' as system,
    ATC as code,
    sum(ANTAL::decimal(18, 4))::double as quantity,
    greatest(1, round(sum(ANTAL::decimal(18, 4) * forpddd::decimal(18, 4))))::int as days_supply
from extract.prescribed_drugs
where ATC is not null
group by LopNr, EDATUM, ATC
having sum(ANTAL::decimal(18, 4)) > 0
