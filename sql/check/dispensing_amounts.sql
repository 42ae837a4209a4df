-- what:   amounts that no pharmacy dispenses
-- grain:  one row per rule
-- reads:  dispensing
-- params: $longest_supply_days; $most_units_a_day
-- source: amounts of zero or less are reversals that were not settled (NCPDP B2); supplies of more than a year are
--         beyond what US plans and most others cover at once
select unnest([
    {'rule': 'dispensing_days_supply_below_one', 'part': null::varchar,
        'offending': count(*) filter (where days_supply <= 0), 'examined': count(days_supply)},
    {'rule': 'dispensing_days_supply_too_long', 'part': null,
        'offending': count(*) filter (where days_supply > $longest_supply_days), 'examined': count(days_supply)},
    {'rule': 'dispensing_quantity_not_positive', 'part': null,
        'offending': count(*) filter (where quantity <= 0 or isnan(quantity)), 'examined': count(quantity)},
    {'rule': 'dispensing_units_a_day_too_many', 'part': null,
        'offending': count(*) filter (where days_supply > 0 and quantity > $most_units_a_day * days_supply),
        'examined': count(quantity) filter (where days_supply > 0)}
], recursive := true)
from dispensing
