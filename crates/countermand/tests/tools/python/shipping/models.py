from django.db import models


class Carrier(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Parcel(models.Model):
    carrier = models.ForeignKey(Carrier, on_delete=models.CASCADE)
    weight = models.IntegerField(default=0)
