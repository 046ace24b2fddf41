"""O rastro: o que aparece na tela do professor e no filme da aula, e que nada mude por estar sendo observado."""

import json
import locale
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from participante import FECHOU, PRAZO
from test_protocolo import casos

from atendimento import rastro as modulo
from atendimento.filas import Filas
from atendimento.rastro import (
    Acontecimento,
    ConexaoRastreada,
    Gravacao,
    Que,
    Rastro,
    Retrato,
    Sigilo,
    SocketRastreado,
    TravaDasFilas,
)
from protocolo import Aviso

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

import filme  # noqa: E402

HORA = r"\d\d:\d\d\.\d\d\d "


class Contado(logging.Handler):
    """O que o rastro contou, linha por linha e sem a hora."""

    def __init__(self) -> None:
        super().__init__()
        self.chegou = threading.Condition()
        self.linhas: list[str] = []

    def emit(self, linha: logging.LogRecord) -> None:
        with self.chegou:
            self.linhas += re.sub(f"^{HORA}", "", linha.getMessage()).split("\n")
            self.chegou.notify_all()

    def ate(self, trecho: str) -> list[str]:
        """Espera por uma linha com `trecho`; devolve todas, com um espaço só entre as colunas."""
        with self.chegou:
            assert self.chegou.wait_for(lambda: any(trecho in linha for linha in self.linhas), PRAZO), self.linhas
            return [" ".join(linha.split()) for linha in self.linhas]


@pytest.fixture
def contado(caplog):
    caplog.set_level(logging.INFO, "fila.rastro")
    contado = Contado()
    modulo.log.addHandler(contado)
    yield contado
    modulo.log.removeHandler(contado)


class NosDois(Gravacao):
    """Conta ao arquivo e ao terminal."""

    def contar(self, acontecimento) -> None:
        super().contar(acontecimento)
        Rastro.contar(self, acontecimento)


def test_uma_conversa_e_o_seu_filme(abrir_servidor, contado, tmp_path, monkeypatch, capsys):
    """Cada linha que entra e que sai, como se lê, com a thread que a tratou; e no filme, também as filas."""
    gravacao = NosDois(str(tmp_path / "aula.jsonl"))
    gravacao.iniciar()
    servidor, trava = abrir_servidor(rastro=gravacao), TravaDasFilas(gravacao)
    servidor.filas.trava, trava.filas = trava, servidor.filas
    monkeypatch.setattr("vigias.TravaVigiada.minha", True)
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")
    yuri.envia("Olá, </script>")
    ana.espera("[Yuri]: Olá, </script>")
    yuri.para_de_escrever()
    yuri.espera(FECHOU)
    linhas = contado.ate("(fim do fluxo)")
    esperadas = [
        r"nº 2 <- 'CLIENTE\n'",
        r"nº 2 -> nº 2 'NOME:\n'",
        r"nº 2 <- 'Yuri\n'",
        r"Yuri -> Yuri 'CONECTADO:Ana\n'",
        r"Yuri -> Ana 'CONECTADO:Yuri\n'",
        r"Yuri <- 'Olá, </script>\n'",
        r"Yuri -> Ana '[Yuri]: Olá, </script>\n'",
        r"Yuri <- (o outro fechou)",
        r"Yuri -> Yuri (fim do fluxo)",
    ]
    assert [linha for linha in linhas if linha in esperadas] == esperadas
    servidor.termina()
    gravacao.encerrar()
    monkeypatch.setattr(sys, "argv", ["filme.py", str(tmp_path / "aula.jsonl")])
    assert filme.main() == 0 and "aula.html: " in capsys.readouterr().out
    pagina = (tmp_path / "aula.html").read_text(encoding="utf-8")
    assert pagina.count("</script>") == 1
    passos = json.loads(re.search(r"const FILME = (.*);\n", pagina)[1])["acontecimentos"]
    assert {passo["que"] for passo in passos} >= {"recebeu", "guardou", "enviou", "fim", "tomou", "soltou", "filas"}
    assert ["Yuri", "Ana"] in [par for passo in passos for par in passo.get("pares", [])]


CHEGAM = {
    "texto": (b"\n ATENDENTE:Vendas\r\nxadrez\nxadrez\n", b"\n ATENDENTE:Vendas\r\n????\nxadrez\n"),
    "cliente": (b"CLIENTE\nxadrez\n", b"CLIENTE\nxadrez\n"),
    "recusado": (b"GERENTE\nxadrez\n", b"GERENTE\nxadrez\n"),
    "json": (
        b'\n\xef\xbb\xbf{"senha" : "xa\\"drez" ,"nome":"Ana"}\n{"senha":"xa\xc3\xa7"}\n{"senha":77}\n{"senha":""}\n',
        b'\n\xef\xbb\xbf{"senha" : "????" ,"nome":"Ana"}\n{"senha":"????"}\n{"senha":????\n{"senha":""}\n',
    ),
    "json-de-outro-jeito": (
        b'{"senha":["xadrez"]}\n{"senha": {"a":"xadrez"}}\n',
        b'{"senha":????\n{"senha": ????\n',
    ),
    "json-sem-senha": (b'{"comando":"mensagem","texto":"a senha"}\n', b'{"comando":"mensagem","texto":"a senha"}\n'),
}


@casos("dados, mostrado", CHEGAM)
@casos("tamanho", {"um-byte": 1, "dois-bytes": 2, "sete-bytes": 7, "de-uma-vez": 4096})
def test_a_senha_nao_se_mostra(dados, mostrado, tamanho):
    """A resposta a `SENHA:` e o campo `senha` do JSON viram `••••`, caiam os cortes onde caírem; o mais, não."""
    sigilo, oculta = Sigilo(ha_senha=True), "••••".encode()
    visto = b"".join(sigilo.ocultar(dados[de : de + tamanho]) for de in range(0, len(dados), tamanho))
    assert re.sub(b"(%s)+" % oculta, b"????", visto) == mostrado
    assert Sigilo(ha_senha=False).ocultar(CHEGAM["texto"][0]) == CHEGAM["texto"][0]


def test_a_senha_na_tela(abrir_servidor, contado):
    """Quem olha o rastro vê que veio uma senha, e não qual."""
    ana = abrir_servidor(rastro=Rastro(), senha="xadrez").conecta()
    ana.envia("ATENDENTE", "xadrez", "Ana")
    ana.espera("SENHA:", "NOME:", "FILA:OK")
    linhas = contado.ate("FILA:OK")
    assert r"'••••\n'" in linhas and "xadrez" not in "".join(linhas)
    assert Rastro(em_bytes=True).linhas("••••\n".encode()) == ([r"b'••••\n'"], "")


@casos(
    "dados, mostrado",
    {
        "uma": (b"um\n", [r"'um\n'"]),
        "tres": (b"um\ndois\ntres\n", [r"'um\n'", r"'dois\n'", r"'tres\n'", "(3 linhas de uma vez)"]),
        "meia": (b"met", ["'met'", "(meia linha)"]),
        "uma-e-meia": (b"um\nmet", [r"'um\n'", "'met'", "(2 linhas; a última, meia)"]),
        "meio-acento": ("é".encode()[:1], [r"b'\xc3'", "(meia linha)"]),
        "controles": (b"\x1b[2J\r\n", [r"'\x1b[2J\r\n'"]),
    },
)
def test_o_que_um_recv_trouxe(par_de_sockets, contado, dados, mostrado):
    """Uma linha do rastro para cada linha do recv, alinhadas, e uma nota se não foi exatamente uma."""
    um, outro = par_de_sockets
    outro.sendall(dados)
    assert SocketRastreado(um, Rastro()).recv(4096) == dados
    primeira, *demais = contado.linhas
    assert [primeira.removeprefix("princip… <-          "), *map(str.strip, demais)] == mostrado
    assert all(linha.index(linha.strip()) == len("00:00.000 princip… <-          ") for linha in demais)
    assert Rastro(em_bytes=True).linhas(dados)[0] == [repr(linha) for linha in dados.splitlines(keepends=True)]


def test_de_quem_e_um_socket(par_de_sockets, contado):
    """Da primeira thread que o lê; antes dela, de um recém-chegado; do envio só se mostra o que coube."""
    um, outro = par_de_sockets
    um.setblocking(False)
    rastreado = SocketRastreado(um, Rastro())
    assert rastreado.fileno() == um.fileno()
    outro.sendall(b"a\nb\n")
    quantos = rastreado.send(b"x" * 900_000)
    dona = threading.Thread(target=rastreado.recv, args=(2,), name="conexao-1 Ana")
    dona.start()
    dona.join(PRAZO)
    rastreado.recv(4096)
    rastreado.shutdown(socket.SHUT_WR)
    outro.settimeout(PRAZO)
    while outro.recv(2**20):
        pass
    assert contado.ate("fim do fluxo") == [
        f"princip… -> recém-c… '{'x' * quantos}'",
        "(meia linha)",
        r"Ana <- 'a\n'",
        r"princip… <- Ana 'b\n'",
        "princip… -> Ana (fim do fluxo)",
    ]


def test_o_que_sobra_na_caixa(par_de_sockets):
    """Conta-se o que entra na caixa, o que sai dela e o que sobra: este, só quando muda. A vez também é vista."""
    rastro, vistos, aceitos = Rastro(), [], iter([9, 5, None, 3, 4])
    rastro.contar = vistos.append
    conexao = ConexaoRastreada(SocketRastreado(par_de_sockets[0], rastro), Mock(), rastro)
    conexao.sock._sock = Mock(send=lambda dados, *_: next(aceitos) or Mock(side_effect=BlockingIOError)())
    with conexao.vez:
        for comandos in [Aviso("oi")], [Aviso("tchau")], [], [], []:
            conexao.entregar(comandos)
    assert [(visto.que.value, visto.com, visto.dados, visto.caixa, visto.nota) for visto in vistos] == [
        ("tomou", "recém-chegado", b"", 0, ""),
        ("guardou", "recém-chegado", b"AVISO:oi\n", 9, ""),
        ("enviou", "recém-chegado", b"AVISO:oi\n", 0, ""),
        ("guardou", "recém-chegado", b"AVISO:tchau\n", 12, ""),
        ("enviou", "recém-chegado", b"AVISO", 7, ""),
        ("sobrou", "recém-chegado", b"", 7, "ficam 7 bytes na caixa"),
        ("enviou", "recém-chegado", b":tc", 4, ""),
        ("sobrou", "recém-chegado", b"", 4, "ficam 4 bytes na caixa"),
        ("enviou", "recém-chegado", b"hau\n", 0, ""),
        ("soltou", "recém-chegado", b"", 0, ""),
    ]


def test_a_espera_pela_trava(contado, tmp_path):
    """Quem teve de esperar diz quanto, e por quem; quem não teve não diz nada. O filme conta cada passo."""
    gravacao = Gravacao(str(tmp_path / "aula.jsonl"))
    gravacao.iniciar()
    for rastro in Rastro(), gravacao:
        trava, quer, contar = TravaDasFilas(rastro), threading.Event(), rastro.contar
        trava.filas = Filas()
        rastro.contar = lambda visto, contar=contar, quer=quer: (contar(visto), visto.que is Que.QUER and quer.set())
        outra = threading.Thread(target=lambda trava=trava: trava.__enter__() or trava.release(), name="conexao-2 Yuri")
        with trava:
            assert trava.locked()
            outra.start()
            assert quer.wait(PRAZO)
        outra.join(PRAZO)
        assert not trava.locked()
    (linha,) = contado.ate("esperou")
    assert re.fullmatch(r"Yuri \.\. trava esperou \d{1,5},\d ms por princip…", linha)
    gravacao.encerrar()
    passos, faltam = filme.ler((tmp_path / "aula.jsonl").read_text(encoding="utf-8"))
    vistos = " ".join(f"{passo['quem'][0]}:{passo['que']}" for passo in passos)
    assert vistos == "M:tomou c:quer M:filas M:soltou c:tomou c:soltou c:esperou" and not faltam
    assert passos[-1]["por"] == "MainThread" and passos[-1]["segundos"] > 0


def test_a_lente(monkeypatch):
    """Quem toma a trava das filas a segura um pouco mais, para que se veja quem espera por ela."""
    trava, dormiu = TravaDasFilas(Rastro()), []
    trava.filas = Filas()
    monkeypatch.setattr(modulo.time, "sleep", lambda segundos: dormiu.append((segundos, trava.locked())))
    trava.acquire()
    trava.release()
    assert dormiu == [(TravaDasFilas.LENTE, True)]


def test_a_hora():
    """Minutos, segundos e milésimos, que são sempre três algarismos."""
    mostrado = Rastro()._no_terminal(Acontecimento(Que.RECEBEU, dados=b"oi\n", quando=62.9994))
    assert re.match(r"\d\d:02\.999 ", mostrado)


def test_cores_por_participante(contado, monkeypatch):
    """Cada conexão tem a sua cor, a mesma antes e depois de se saber o nome, que não desalinha as colunas."""
    rastro, comprido = Rastro(), f"conexao-6 {'x' * 40}"
    rastro._cores = True
    for outro in (*(f"conexao-{numero}" for numero in range(1, 7)), comprido, "carteiro"):
        rastro.contar(Acontecimento(Que.ENVIOU, outro, b"oi\n"))
    rastro.contar(Acontecimento(Que.RECEBEU, dados=b"oi\n", quem="conexao-6"))
    *cores, do_comprido, do_carteiro, da_propria = [re.findall(r"\x1b\[3\dm", linha) for linha in contado.linhas]
    assert len({cor for cor, _ in cores}) == 6 and all(do_nome == da_linha for do_nome, da_linha in cores)
    assert do_comprido == da_propria == cores[-1] and do_carteiro == []
    lisas = [re.sub(r"\x1b\[\d*m", "", linha) for linha in contado.linhas]
    assert {linha.index("'oi") for linha in lisas} == {len("princip… -> xxxxxxx… ")}


def test_na_largura_da_tela(monkeypatch, contado):
    """Num terminal de 60 colunas, nenhuma linha passa da borda: a que não cabe é cortada."""
    monkeypatch.setattr(modulo, "e_terminal", lambda saida: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(modulo, "usar_cores", lambda saida: False)
    rastro, elisangela = Rastro(), "conexao-12 Elisângela Nóbrega"
    rastro.contar(Acontecimento(Que.ENVIOU, elisangela, b"x" * 50_000 + b"\n", quem=elisangela))
    rastro.contar(Acontecimento(Que.ESPEROU, elisangela, segundos=0.01234, por=elisangela, quem=elisangela))
    rastro.contar(Acontecimento(Que.RECEBEU, dados="Olá 😀 , tudo bem com você aí?\n".encode(), quem="conexao-1"))
    rastro.contar(Acontecimento(Que.RECEBEU, dados=b"x\n" * 999 + b"x", quem="conexao-1"))
    assert [len("00:00.000 " + linha) for linha in contado.linhas[:3]] == [60, 59, 59]  # a última tem um emoji
    assert contado.linhas[1] == "Elisâng… .. vez Elis esperou 12,3 ms por Elisâng…"
    assert "(1000 linhas; a última, meia)" in contado.linhas[-1] and len(contado.linhas[-1]) == 60


def test_o_corte_na_borda(monkeypatch, contado):
    """O que enche a tela não é cortado; o que passa por um caractere é; onde não cabe nada, ficam as reticências."""
    monkeypatch.setattr(modulo, "e_terminal", lambda saida: True)
    monkeypatch.setattr(modulo, "usar_cores", lambda saida: False)
    margem = len("00:00.000 princip… <-          ")
    for cabem in 11, 10, 2, 1, 0, -9:
        monkeypatch.setenv("COLUMNS", f"{margem + cabem}")
        Rastro().contar(Acontecimento(Que.RECEBEU, dados=b"abcdefg\n"))
    comeco = "princip… <-          "
    assert [linha.removeprefix(comeco) for linha in contado.linhas] == [r"'abcdefg\n'", r"'abcdefg\…", "'…", *"………"]


@casos(
    "thread, na_coluna, na_frase",
    {
        "sem-nome": ("conexao-2", "nº 2    ", "nº 2"),
        "curto": ("conexao-3 Ana Lima", "Ana Lima", "Ana"),
        "comprido": ("conexao-3 Ana Maria Lima", "Ana     ", "Ana"),
        "de-oito": ("conexao-3 Leonardo", "Leonardo", "Leonardo"),
        "de-dez": ("conexao-3 Elisângela", "Elisâng…", "Elisâng…"),
        "do-servidor": ("carteiro", "carteiro", "carteiro"),
    },
)
def test_o_nome_de_uma_thread(contado, thread, na_coluna, na_frase):
    """Na coluna, o que couber em oito letras; na frase, uma palavra; antes de se saber o nome, o número."""
    Rastro().contar(Acontecimento(Que.ESPEROU, quem=thread, por=thread))
    assert contado.linhas == [f"{na_coluna} .. trava    esperou 0,0 ms por {na_frase}"]


def test_o_arquivo(tmp_path):
    """É em UTF-8 onde quer que seja, só o dono o lê, e a thread de mesmo nome grava o que há sem esperar pelo fim."""
    caminho, daqui = tmp_path / "aula.jsonl", locale.setlocale(locale.LC_CTYPE)
    gravacao = Gravacao(str(caminho))
    locale.setlocale(locale.LC_CTYPE, "C")
    gravacao.iniciar()
    locale.setlocale(locale.LC_CTYPE, daqui)
    assert "rastro" in {thread.name for thread in threading.enumerate()}
    gravar, gravou = gravacao._arquivo.flush, threading.Event()
    gravacao._arquivo.flush = lambda: (gravar(), gravou.set())
    gravacao.contar(Acontecimento(Que.TOMOU, quem="Ângela"))
    assert gravou.wait(PRAZO) and '"Ângela"' in caminho.read_text(encoding="utf-8")
    gravacao.encerrar(PRAZO)
    assert os.name != "posix" or caminho.stat().st_mode & 0o777 == 0o600


def test_uma_linha_do_arquivo():
    """O que houve, com os nomes que o filme lê; o que não há não ocupa lugar, e os tempos vão até o microssegundo."""
    gravacao, ana = Gravacao("aula.jsonl"), "conexao-1 Ângela"
    enviou = Acontecimento(Que.ENVIOU, ana, b"oi\nme", "x", caixa=3, quem="carteiro", quando=9.00000012)
    esperou = Acontecimento(Que.ESPEROU, segundos=0.12345678, por=ana, quem="carteiro", quando=9.0)
    filas = Acontecimento(Que.FILAS, quem=ana, quando=9.5, filas=Retrato([], ["Bia"], [("Yuri", "Ana")]))
    linha = {"quando": 9.0, "quem": "carteiro"}
    mais = {"que": "enviou", "com": ana, "linhas": [r"'oi\n'", "'me'"], "bytes": 5, "caixa": 3, "nota": "x"}
    assert gravacao._em_json(1, enviou) == json.dumps({"n": 1, **linha, **mais}, ensure_ascii=False)
    mais = {"que": "esperou", "segundos": 0.123457, "por": ana}
    assert gravacao._em_json(2, esperou) == json.dumps({"n": 2, **linha, **mais}, ensure_ascii=False)
    mais = {"que": "filas", "clientes": [], "atendentes": ["Bia"], "pares": [["Yuri", "Ana"]]}
    assert json.loads(gravacao._em_json(3, filas)) == {"n": 3, "quando": 9.5, "quem": ana, **mais}


@casos("texto", {"vazio": "", "outra-coisa": "momento,conversa\n", "outro-json": "[1]\n", "so-meia-linha": '{"n":1'})
def test_o_que_nao_e_um_rastro(texto, tmp_path, monkeypatch, capsys):
    """Diz-se que não é, sem traceback e com código 1."""
    (tmp_path / "x").write_text(texto, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["filme.py", str(tmp_path / "x")])
    assert filme.main() == 1 and " não é um rastro: " in capsys.readouterr().err


def test_o_disco_que_nao_acompanha(monkeypatch):
    """Ninguém espera pelo arquivo: o que não cabe se perde, e o filme diz quanto."""
    monkeypatch.setattr(Gravacao, "MAXIMO_NA_ESPERA", 2)
    gravacao = Gravacao("aula.jsonl")  # sem `iniciar`: um disco que não anda
    for _ in range(3):
        gravacao.contar(Acontecimento(Que.TOMOU))
    assert [gravacao._espera.get()[0] for _ in range(2)] == [1, 2]
    passos = [json.dumps({"n": n, "quando": 1, "quem": "a", "que": "tomou"}) for n in (2, 5)]
    assert filme.ler("\n".join([*passos, "{pela meta"]))[1] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="só o Linux tem um disco sempre cheio")
@casos("quantos", {"so-se-nota-ao-fechar": 1, "no-meio": 10_000})
def test_o_disco_cheio(caplog, quantos):
    """O erro é dito uma vez, e a espera continua esvaziando."""
    gravacao = Gravacao("/dev/full")
    gravacao.iniciar()
    for _ in range(quantos):
        gravacao.contar(Acontecimento(Que.TOMOU))
    gravacao.encerrar(PRAZO)
    assert [linha.getMessage() for linha in caplog.records] == ["O rastro em /dev/full parou: disco cheio."]


NAVEGADOR = """
const novo = () => ({
  filhos: [], style: { setProperty() {} }, classList: { add() {} }, dataset: {}, textContent: "", clientWidth: 900,
  clientHeight: 400, addEventListener() {}, setAttribute() {},
  append(...filhos) { this.filhos.push(...filhos); }, replaceChildren(...filhos) { this.filhos = filhos; },
});
const ids = {}, ouvem = {};
Object.assign(globalThis, {
  getComputedStyle: () => ({ fontSize: "16px" }), matchMedia: () => ({}), location: { hash: "" },
  addEventListener: (que, fazer) => { ouvem[que] = fazer; },
  document: {
    body: novo(), documentElement: novo(), createElement: novo, getElementById: (id) => ids[id] ||= novo(),
    createElementNS: (_, marca) => ({ ...novo(), marca }),
  },
});
"""
VER = """
const texto = (no) => typeof no === "string" ? no : no.textContent + no.filhos.map(texto).join("");
const vistos = ["Home", ...passos.slice(1).fill("ArrowRight"), "PageUp", "e", "t", "End"].map((key) => {
  ouvem.keydown({ key, preventDefault() {} });
  return ["frase", "trava", "vezes", "clientes", "pares", "caixas"].map((id) => texto(ids[id]));
});
const faixas = ids.palco.filhos[0].filhos.filter((no) => no.marca === "text").map((no) => no.textContent);
console.log(JSON.stringify({ faixas, vistos }));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="não há node que rode a página")
def test_a_pagina_anda_por_todos_os_acontecimentos():
    """Num navegador de mentira: uma faixa por thread, uma frase por passo, e quem tem o que em cada um."""
    ana = {"com": "conexao-1 Ana Lima", "linhas": ["oi"], "bytes": 3, "caixa": 2}
    filas = {"clientes": ["Bia"], "atendentes": [], "pares": [["Yuri", "Ana Lima"]]}
    acontecem = [("recebeu", {"linhas": ["oi"], "bytes": 3}), ("quer", {}), ("tomou", {}), ("filas", filas)]
    acontecem += [("esperou", {"por": "carteiro", "segundos": 0.0015})]
    acontecem += [(que, ana) for que in ("tomou", "guardou", "enviou", "sobrou", "fim", "soltou")]
    acontecem += [("soltou", {}), ("recebeu", {"bytes": 0}), ("quer", {"quem": "carteiro"})]
    passos = [{"n": n, "quando": n, "quem": "conexao-2 Yuri", "que": que} | o for n, (que, o) in enumerate(acontecem)]
    assert {passo["que"] for passo in passos} == set(filme.ACONTECIMENTOS)
    script = filme.pagina(passos, "aula").partition("<script>")[2].partition("</script>")[0]
    node = subprocess.run(["node", "-"], input=NAVEGADOR + script + VER, capture_output=True, encoding="utf-8")
    assert node.returncode == 0, node.stderr
    visto = json.loads(node.stdout)
    assert visto["faixas"] == ["Yuri", "carteiro"]
    frases = [frase for frase, *_ in visto["vistos"]]
    assert len(set(frases[: len(passos)])) == len(passos) and not re.search("undefined|NaN", node.stdout)
    assert frases[4].endswith(" tinha esperado 1,5 ms pela trava, que estava com carteiro")
    na_caixa = ["Yuri põe na caixa de Ana Lima oi", "com Yuri", "a de Ana: Yuri", "1. Bia", "Yuri ↔ Ana"]
    assert visto["vistos"][6] == [*na_caixa, "Ana (2 bytes): oi"]
    assert [frase.split()[1] for frase in frases[-4:]] == ["recebe", "quer", "quer", "quer"]
