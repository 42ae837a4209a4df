-- what:   CIM-10 diagnoses of hospital stays, and long-term illnesses (ALD) on the day from which they are recognised
-- grain:  one row per diagnosis of a stay and per long-term illness in CIM-10
-- reads:  extract.stay_code, extract.ir_imb
-- params: none
-- source: SNDS data dictionary, PMSI and IR_IMB_R
select person, first_day as date, last_day as end_date, system, code, setting, position
from extract.stay_code
where system = 'icd10'
union all
select NUM_ENQ, IMB_ALD_DTD, IMB_ALD_DTD, 'icd10', MED_MTF_COD, 'unknown', null
from extract.ir_imb
where MED_NCL_IDT = 'CIM10'
