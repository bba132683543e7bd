"""Settings of the grouping of candidates."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ClusterConfig(BaseModel):
    """How candidates are grouped for review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clusters: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="number of clusters; auto grows with the root of the candidates"
    )
    seed: int = Field(1, ge=0, description="of the k-means")
