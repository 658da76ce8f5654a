"""A program that calls tasks and knows nothing of Milepost: prints the ids of what it has called."""

import os

from celery import Celery, chord, group

app = Celery("elsewhere", broker=os.environ["MILEPOST_TEST_REDIS"], backend=os.environ["MILEPOST_TEST_REDIS"])
add = app.signature("add")

chain = (add.clone((1,)) | add.clone((2,))).delay()
members = group([add.clone((1,)), add.clone((2,))]).delay()
body = chord([add.clone((1,)), add.clone((2,))], app.signature("total")).delay()
print(chain.parent.id, *[member.id for member in members.results], body.parent.id)  # noqa: T201 - its reader is a test
