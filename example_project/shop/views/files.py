"""CSV out, as a stream and as a file on disk; and CSV in, for those who may change the stock."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from shop.exports import fresh_file, lines
from shop.forms import StockUploadForm
from shop.stocktaking import BadStockListError, apply


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The catalogue as it is now, written while it is sent."""
    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="catalogue-now.csv"', "Cache-Control": "no-store"},
    )


@require_safe
def download(request: HttpRequest) -> FileResponse:
    """The catalogue from a file, at most ten minutes old; the server may send it without Python's help."""
    path = fresh_file(settings.DATA_DIR)
    return FileResponse(path.open("rb"), as_attachment=True, filename="catalogue.csv", content_type="text/csv")


@never_cache
@login_required
@permission_required("shop.change_book", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def upload_stock(request: HttpRequest) -> HttpResponse:
    form = StockUploadForm(request.POST, request.FILES) if request.method == "POST" else StockUploadForm()
    if request.method == "POST" and form.is_valid():
        try:
            changed = apply(form.cleaned_data["file"])
        except BadStockListError as error:
            for problem in error.problems:
                form.add_error("file", problem)
        else:
            messages.success(request, f"The stock of {changed} books was changed.")
            return redirect("upload-stock")
    return render(request, "shop/upload_stock.html", {"form": form}, status=400 if form.errors else 200)
