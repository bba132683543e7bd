"""An embedded mock of SDSS: galaxies drawn from a table of populations, rendered with GalSim."""

from discovery.surveys.mock.contrast import STANDS_OUT
from discovery.surveys.mock.survey import MockSurvey

__all__ = ["STANDS_OUT", "MockSurvey"]
