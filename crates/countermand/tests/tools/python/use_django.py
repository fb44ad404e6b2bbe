"""Django's ORM, as an application uses it, on tables that are there already."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"

import django  # noqa: E402

django.setup()

from django.db import IntegrityError, connection, transaction  # noqa: E402
from django.db.models import Count, F  # noqa: E402
from shipping.models import Carrier, Parcel  # noqa: E402

post = Carrier.objects.create(name="post")
found, made = Carrier.objects.get_or_create(name="courier")
assert made and Carrier.objects.get_or_create(name="courier") == (found, False)
Parcel.objects.bulk_create(Parcel(carrier=post, weight=n) for n in range(50))
assert Parcel.objects.filter(weight__lt=10).update(weight=F("weight") + 1) == 10
parcel = Parcel.objects.select_related("carrier").get(weight=49)
parcel.weight = 1000
parcel.save()
with transaction.atomic():
    locked = Parcel.objects.select_for_update().get(pk=parcel.pk)
    locked.delete()
try:
    with transaction.atomic():
        Parcel.objects.create(carrier=post, weight=-1)
        with transaction.atomic():
            Carrier.objects.create(name="post")
except IntegrityError:
    pass
assert not Parcel.objects.filter(weight=-1).exists()
some = list(Parcel.objects.all()[:5])
for one in some:
    one.weight = 7
assert Parcel.objects.bulk_update(some, ["weight"]) == 5
Carrier.objects.create(name="drone")
counted = Carrier.objects.annotate(n=Count("parcel")).order_by("name").values_list("name", "n")
assert list(counted) == [("courier", 0), ("drone", 0), ("post", 49)], list(counted)
assert sum(1 for _ in Parcel.objects.iterator(chunk_size=10)) == 49
assert Carrier.objects.filter(name="drone").delete()[0] == 1
try:
    Parcel.objects.all().delete()
    raise AssertionError("all parcels are gone")
except django.db.Error as error:
    assert error.__cause__.sqlstate == "CM001", error
connection.close()
assert Parcel.objects.count() == 49
print("done")
