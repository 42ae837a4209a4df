-- what:   standing claim lines of all seven claim types, with the setting and the days of their encounter. Setting: institutional claims by type of bill, else by type
--         of claim; carrier and equipment lines by place of service; an outpatient claim with an emergency-room
--         revenue centre on any of its lines is an emergency visit as a whole. Days: an inpatient stay lasts from
--         admission to discharge, where they are given; everything else from the first to the last day of the claim,
--         because discharge dates of nursing and hospice claims are those of the stay, months away from the bill
-- grain:  one row per standing claim line
-- reads:  extract.billed_line, codes.nch_claim_type, codes.type_of_bill, codes.place_of_service, codes.revenue_center
-- params: none
-- source: ResDAC, RIF record layouts; CMS Place of Service Code Set; NUBC UB-04 form locators 4 and 42
with emergency as (
    select distinct line.BENE_ID, line.CLM_ID
    from extract.billed_line as line
    join codes.revenue_center as revenue on revenue.code = lpad(line.REV_CNTR, 4, '0')
    where revenue.setting = 'emergency'
), placed as (
    select
        line.*,
        case
            when coalesce(bill.setting, type.setting) = 'outpatient' and emergency.CLM_ID is not null then 'emergency'
            else coalesce(bill.setting, type.setting, place.setting, 'unknown')
        end as setting
    from extract.billed_line as line
    left join codes.nch_claim_type as type on type.code = line.NCH_CLM_TYPE_CD
    left join codes.type_of_bill as bill on bill.code = line.CLM_FAC_TYPE_CD || line.CLM_SRVC_CLSFCTN_TYPE_CD
    left join codes.place_of_service as place on place.code = lpad(line.LINE_PLACE_OF_SRVC_CD, 2, '0')
    left join emergency on emergency.BENE_ID = line.BENE_ID and emergency.CLM_ID = line.CLM_ID
)
select
    *,
    case when setting = 'inpatient' then coalesce(CLM_ADMSN_DT, CLM_FROM_DT) else CLM_FROM_DT end as encounter_start,
    case when setting = 'inpatient' then coalesce(NCH_BENE_DSCHRG_DT, CLM_THRU_DT) else CLM_THRU_DT end
        as encounter_end
from placed
