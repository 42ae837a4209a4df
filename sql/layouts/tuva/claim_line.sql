-- what:   medical claim lines with the setting and the days of their encounter.
--         Setting: institutional claims by type of bill (facility and kind of care, its first two digits), all others
--         by place of service; an outpatient bill with an emergency-room revenue centre on any of its lines is an
--         emergency visit as a whole. Days: an inpatient stay lasts from admission to discharge, where they are
--         given; everything else from claim_start_date to claim_end_date. Admission dates of other bills are not
--         used: on home-health and hospice bills they are the start of care, months earlier.
-- grain:  one row per standing line of medical_claim
-- reads:  extract.medical_line, codes.type_of_bill, codes.place_of_service, codes.revenue_center
-- params: none
-- source: CMS Place of Service Code Set; NUBC UB-04 form locators 4 (type of bill) and 42 (revenue code)
with emergency as (
    select distinct line.person_id, line.claim_id
    from extract.medical_line as line
    join codes.revenue_center as revenue on revenue.code = lpad(line.revenue_center_code, 4, '0')
    where revenue.setting = 'emergency'
), placed as (
    select
        line.*,
        case
            when bill.setting = 'outpatient' and emergency.claim_id is not null then 'emergency'
            else coalesce(bill.setting, place.setting, 'unknown')
        end as setting
    from extract.medical_line as line
    left join codes.type_of_bill as bill
        on bill.code = ltrim(line.bill_type_code, '0')[1:2] and line.claim_type is distinct from 'professional'
    left join codes.place_of_service as place
        on place.code = lpad(line.place_of_service_code, 2, '0') and line.claim_type is distinct from 'institutional'
    left join emergency on emergency.person_id = line.person_id and emergency.claim_id = line.claim_id
)
select
    person_id,
    claim_start_date,
    claim_end_date,
    claim_line_start_date,
    discharge_date,
    discharge_disposition_code,
    hcpcs_code,
    diagnosis_code_type,
    diagnosis_code_,
    procedure_code_type,
    procedure_code_,
    procedure_date_,
    setting,
    case when setting = 'inpatient' then coalesce(admission_date, claim_start_date) else claim_start_date end
        as encounter_start,
    case when setting = 'inpatient' then coalesce(discharge_date, claim_end_date, claim_start_date)
        else coalesce(claim_end_date, claim_start_date) end as encounter_end
from placed
