-- what:   CCAM acts. Those of a stay are dated by the delay after its first day, without one on the first day; those of
--         the DCIR on the day of the service. Setting of the DCIR: outpatient, but unknown where an establishment
--         (ER_ETE_F) took part, for it may have been a stay or not
-- grain:  one row per act of a stay and per line of ER_CAM_F
-- reads:  extract.stay_code, extract.er_cam, extract.prestation, extract.er_ete
-- params: none
-- source: SNDS data dictionary; the nine columns that join the tables of the DCIR
with clinic as (
    select distinct
        DCT_ORD_NUM, FLX_DIS_DTD, FLX_EMT_NUM, FLX_EMT_ORD, FLX_EMT_TYP, FLX_TRT_DTD, ORG_CLE_NUM, PRS_ORD_NUM,
        REM_TYP_AFF, 'unknown' as setting
    from extract.er_ete
)
select person, first_day + coalesce(delay, 0)::integer as date, system, code, setting
from extract.stay_code
where system = 'ccam'
union all
select NUM_ENQ, day, 'ccam', CAM_PRS_IDE, coalesce(clinic.setting, 'outpatient')
from extract.er_cam
join extract.prestation using (
    DCT_ORD_NUM, FLX_DIS_DTD, FLX_EMT_NUM, FLX_EMT_ORD, FLX_EMT_TYP, FLX_TRT_DTD, ORG_CLE_NUM, PRS_ORD_NUM, REM_TYP_AFF
)
left join clinic using (
    DCT_ORD_NUM, FLX_DIS_DTD, FLX_EMT_NUM, FLX_EMT_ORD, FLX_EMT_TYP, FLX_TRT_DTD, ORG_CLE_NUM, PRS_ORD_NUM, REM_TYP_AFF
)
where CAM_PRS_IDE is not null
