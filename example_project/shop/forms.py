"""The shop's forms: quantities, the checkout, a review, a new account and the upload of stock."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import FileExtensionValidator
from django.template.defaultfilters import filesizeformat

from .basket import MAX_QUANTITY
from .models import Order, Review
from .stocktaking import MAX_BYTES, BadStockListError, StockList, parse


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY, initial=1)


class BasketLineForm(forms.Form):
    """One line of the basket's page; none takes the book out."""

    book = forms.IntegerField(min_value=1)
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class CheckoutForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ("name", "email", "street", "city", "postcode")
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
            "street": forms.TextInput(attrs={"autocomplete": "street-address"}),
            "city": forms.TextInput(attrs={"autocomplete": "address-level2"}),
            "postcode": forms.TextInput(attrs={"autocomplete": "postal-code"}),
        }


class ReviewForm(forms.ModelForm):
    rating = forms.TypedChoiceField(
        coerce=int,
        choices=[(number, f"{number} of 5") for number in range(5, 0, -1)],
        widget=forms.RadioSelect,
    )

    class Meta:
        model = Review
        fields = ("rating", "title", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 6})}


class RegistrationForm(UserCreationForm):
    class Meta:
        model = get_user_model()
        fields = ("username", "email")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].required = True
        self.fields["username"].help_text = "Letters, digits and @ . + - _"


class StockUploadForm(forms.Form):
    file = forms.FileField(
        label="Stock list",
        help_text=f"A CSV file with the columns isbn and stock, up to {filesizeformat(MAX_BYTES)}.",
        validators=[FileExtensionValidator(["csv"])],
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    # What the browser may call a CSV file; spreadsheets have taught some of them another name.
    TYPES = ("text/csv", "text/plain", "application/csv", "application/vnd.ms-excel", "application/octet-stream")

    def clean_file(self) -> StockList:
        file: UploadedFile = self.cleaned_data["file"]
        size = file.size or 0
        if size > MAX_BYTES:
            raise forms.ValidationError(
                f"The file is {filesizeformat(size)}; at most {filesizeformat(MAX_BYTES)} are taken."
            )
        if file.content_type not in self.TYPES:
            raise forms.ValidationError(f"“{file.content_type}” is not CSV. Upload a CSV file.")
        try:
            return parse(file.read())
        except BadStockListError as error:
            raise forms.ValidationError(list(error.problems)) from error
