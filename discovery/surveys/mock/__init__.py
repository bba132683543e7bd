"""An embedded mock of SDSS: galaxies drawn from a table of populations.

Light, dust and PSF are evaluated here in closed form, for speed; the tests compare Sérsic galaxies
and stars with what GalSim draws.
"""

from discovery.surveys.mock.contrast import STANDS_OUT
from discovery.surveys.mock.survey import MockSurvey

__all__ = ["STANDS_OUT", "MockSurvey"]
