-- what:   persons as the beneficiary reference (IR_BEN_R), the reimbursements and the hospitals describe them. The
--         reference is believed first, then the latest flow of reimbursements, then a stay that ended in death (exit
--         mode 9). The day of birth is not recorded: the 15th of the month stands for it, or the 1st of July where the
--         month is unknown too. A death in 1600 means none. The region is the department of residence
-- grain:  one row per line of IR_BEN_R and ER_PRS_F, and per stay
-- reads:  extract.ir_ben, extract.er_prs, extract.stay, codes.iso_sex
-- params: none
-- source: SNDS data dictionary; our rule
select
    NUM_ENQ as person,
    case when BEN_NAI_ANN > 1600 then
        case when BEN_NAI_MOI between 1 and 12 then make_date(BEN_NAI_ANN, BEN_NAI_MOI, 15)
            else make_date(BEN_NAI_ANN, 7, 1) end
    end as birth_date,
    sex,
    case when BEN_DCD_DTE > date '1600-12-31' then BEN_DCD_DTE end as death_date,
    BEN_RES_DPT as region,
    date '9999-12-31' as as_of
from extract.ir_ben
left join codes.iso_sex on iso_sex.code = BEN_SEX_COD
union all
select
    NUM_ENQ,
    case when BEN_NAI_ANN > 1600 then make_date(BEN_NAI_ANN, 7, 1) end,
    sex,
    case when BEN_DCD_DTE > date '1600-12-31' then BEN_DCD_DTE end,
    BEN_RES_DPT,
    FLX_DIS_DTD
from extract.er_prs
left join codes.iso_sex on iso_sex.code = BEN_SEX_COD
union all
select person, null, null, case when exit_mode = '9' then last_day end, null, null
from extract.stay
