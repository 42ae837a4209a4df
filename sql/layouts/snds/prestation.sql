-- what:   reimbursed services of the DCIR with their day: that of execution, else that of prescription
-- grain:  one row per line of ER_PRS_F
-- reads:  extract.er_prs
-- params: none
-- source: SNDS data dictionary, ER_PRS_F
select *, coalesce(EXE_SOI_DTD, PRE_PRE_DTD) as day
from extract.er_prs
