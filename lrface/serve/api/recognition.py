"""Who is in a picture; do two pictures show the same person?"""

from __future__ import annotations

import msgspec

from lrface.inputs.images import read_image
from lrface.serve.access import Role
from lrface.serve.api.convert import face_out, verification_out
from lrface.serve.endpoint import Call, Endpoint, Picture
from lrface.serve.shapes import FacesOut, VerificationOut


class IdentifyQuery(msgspec.Struct):
    """Whether each face says in words why it has its name, or none."""

    explain: bool = False


class IdentifyForm(msgspec.Struct):
    """A picture."""

    picture: Picture


class VerifyForm(msgspec.Struct):
    """Two pictures of one face each."""

    first: Picture
    second: Picture
    max_false_match_rate: float = 0.001


async def identify(call: Call) -> FacesOut:
    """Finds every face of a picture and says who it is."""
    form: IdentifyForm = call.body
    limits, matcher = call.service.options.limits, call.service.matcher

    def found() -> FacesOut:
        image = read_image(form.picture.data, max_pixels=limits.pixels, max_bytes=limits.picture_bytes)
        faces = [face_out(face, call.query.explain) for face in matcher.identify(image)]
        return FacesOut(image.shape[1], image.shape[0], faces)

    return await call.service.work(call.who, found)


async def verify(call: Call) -> VerificationOut:
    """Compares the faces of two pictures."""
    form: VerifyForm = call.body
    limits, matcher = call.service.options.limits, call.service.matcher

    def compared() -> VerificationOut:
        first, second = (
            read_image(each.data, max_pixels=limits.pixels, max_bytes=limits.picture_bytes)
            for each in (form.first, form.second)
        )
        return verification_out(matcher.verify(first, second, max_false_match_rate=form.max_false_match_rate))

    return await call.service.work(call.who, compared)


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/identify", Role.VIEWER, "Find every face of a picture and say who it is.", identify, FacesOut,
        query=IdentifyQuery, form=IdentifyForm, client="identify",
    ),
    Endpoint(
        "POST", "/v1/verify", Role.VIEWER, "Say whether two pictures show the same person.", verify, VerificationOut,
        form=VerifyForm, client="verify",
    ),
)  # fmt: skip
