-- what:   persons of the population register with their death, if any; 1 is male, 2 is female
-- grain:  one row per line of population (and per death of one person)
-- reads:  extract.population, extract.deaths, codes.iso_sex
-- params: none
-- source: Statistics Sweden, Total Population Register (Kon, Lan); National Board of Health and Welfare, Cause of
--         Death Register (DODSDAT)
select
    population.LopNr as person,
    population.FodelseDatum as birth_date,
    iso_sex.sex,
    deaths.DODSDAT as death_date,
    population.Lan as region
from extract.population
left join extract.deaths using (LopNr)
left join codes.iso_sex on iso_sex.code = population.Kon
