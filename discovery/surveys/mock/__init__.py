"""An embedded mock of SDSS: galaxies drawn from a table of populations, rendered with GalSim."""

from discovery.surveys.mock.survey import MockSurvey

__all__ = ["MockSurvey"]
