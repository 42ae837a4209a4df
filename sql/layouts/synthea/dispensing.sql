-- what:   prescriptions in RxNorm, dated at their START; quantity and supply are not in the export
-- grain:  one row per line of medications
-- reads:  extract.medications
-- params: none
-- source: Synthea CSV File Data Dictionary, medications
select
    PATIENT as person,
    "START" as date,
    'rxnorm' as system,
    CODE as code,
    null as quantity,
    null as days_supply
from extract.medications
