"""Simulation: the gateway's own actors on virtual time, against scripted providers. See `docs/simulation.md`.

    scenario = load_scenario("outage.yaml")
    result = simulate(scenario, seed=7)
    print(summary(result))

`scenario` and `load` read files; `providers` and `course` are what is simulated; `world`, `traveller` and `runner`
drive the actors; `invariants` and `reference` watch them; `record`, `summary` and `report` tell what came of it.
"""
