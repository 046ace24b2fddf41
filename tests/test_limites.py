"""Os limites de quem abusa: as contas, com um relógio de mentira, e o que se lê de fora, em sockets de verdade."""

import queue
import threading
import time
from types import SimpleNamespace

from conferidor.regras import ANA_ENCERROU, DESLIGADO, YURI_DESCONECTOU
from participante import FECHOU, PRAZO, Participante
from test_protocolo import casos
from test_servidor import LOTADO

import servidor as modulo
from atendimento import filas, identificacao
from atendimento.limites import DEMAIS, ISENTOS, Lugares, Ritmo, Senhas, origem

ERRADA = "FIM:Senha incorreta."
DO_ENDERECO = "Conexões demais do seu endereço; tente mais tarde."


def test_os_lugares_de_um_endereco():
    """Ao mesmo tempo e em dez segundos, só tantas de um endereço, ou de uma rede /64; os outros não percebem."""
    agora = [0.0]
    lugares = Lugares(200, 2, ISENTOS, lambda: agora[0])
    assert [lugares.dar(numero, "192.0.2.7") for numero in range(3)] == [None, None, DEMAIS]
    lugares.vagar(0)
    agora[0] = 9.5
    assert lugares.dar(3, "192.0.2.7") is DEMAIS, "há uma aberta, mas duas novas em dez segundos"
    assert [lugares.relatar(onde) for onde in ("192.0.2.7", "::ffff:192.0.2.7", "::1")] == [True, False, True]
    agora[0] = 10.0
    assert lugares.dar(4, "192.0.2.7") is None and not lugares.relatar("192.0.2.7")
    assert lugares.dar(5, "192.0.2.7") is DEMAIS, "das novas só uma é de há pouco, mas há duas abertas"
    assert not any(lugares.dar(f"{i} {onde}", onde) for i in range(9) for onde in ("::1", "::ffff:127.0.0.1"))
    assert [lugares.dar(f"b{i}", f"2001:db8::{i}") for i in range(3)] == [None, None, DEMAIS]
    assert origem("fe80::1%1") == "fe80::1%1" and not any(Lugares(9, 0, ()).dar(i, "192.0.2.7") for i in range(9))
    agora[0] = 19.5
    assert lugares.relatar("192.0.2.7")
    for numero in range(5000):  # quem só passou não ocupa a memória
        agora[0] += 0.1
        lugares.dar("c", f"10.0.{numero >> 8}.{numero & 255}")
        lugares.vagar("c")
    assert len(lugares._visitas) < 250
    assert lugares.dar(6, "192.0.2.7") is DEMAIS, "passou muito tempo, mas as duas continuam abertas"
    assert origem("2001:db8::8000:0:0:1") == origem("2001:db8::1") != origem("2001:db8:0:1::1")


def test_as_novas_em_quaisquer_dez_segundos():
    """Comecem os dez segundos quando começarem, não entram neles mais que as do limite."""
    agora, entraram = [0.0], []
    lugares = Lugares(200, 3, (), lambda: agora[0])
    for agora[0] in (0, 9, 9.5, 10, 10.5, 11, 19, 19.5, 20, 20.5):
        if not lugares.dar("a", "192.0.2.7"):
            entraram.append(agora[0])
            lugares.vagar("a")
    assert entraram == [0, 9, 9.5, 10, 19, 19.5, 20]


@casos("maximo, de_clientes", {"um": (1, 1), "dois": (2, 1), "quarenta": (40, 38), "mil": (1000, 950)})
def test_os_ultimos_lugares(maximo, de_clientes):
    """Um vigésimo, e ao menos um quando há mais de um, não é de clientes; o que um deixa é de outro."""
    lugares = Lugares(maximo, 0, ())
    cabem = [not lugares.dar(numero, "::1") and lugares.cabe_o_cliente(numero) for numero in range(maximo)]
    assert cabem == [True] * de_clientes + [False] * (maximo - de_clientes)
    assert lugares.dar("outro", "::1") is filas.LOTADO
    lugares.vagar(0)
    assert not lugares.dar("outro", "::1") and lugares.cabe_o_cliente("outro")


def test_a_demora_de_uma_senha_errada():
    """Dobra até 30 s, uma de cada vez; acertar, ou dez minutos, zera; e a memória não cresce sem fim."""
    agora = [0.0]
    senhas = Senhas(lambda: agora[0])

    def errar(endereco: str = "127.0.0.1") -> float:
        _, demora = senhas.conferir("a", endereco, certa=False)
        agora[0] += demora
        return demora

    assert [errar() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    agora[0] -= 12
    assert [senhas.conferir("b", "::ffff:127.0.0.1", certa) for certa in (True, False)] == [(False, 12.0)] * 2
    senhas.desistir("b")
    agora[0] += 12 + 599
    assert errar() == 30
    agora[0] += 600
    assert [errar(), errar()] == [1, 2] and senhas.conferir("a", "127.0.0.1", certa=True) == (True, 0.0)
    assert errar() == 1 and {errar(f"10.0.{i >> 8}.{i & 255}") for i in range(senhas.LEMBRADAS)} == {1.0}
    assert len(senhas._erros) == senhas.LEMBRADAS


def test_a_vez_das_senhas():
    """De um endereço, a primeira a chegar; quem desiste sai da fila; acertar zera também para quem vem atrás."""
    agora = [0.0]
    senhas = Senhas(lambda: agora[0])

    def conferir(quem: str, certa: bool = False, endereco: str = "192.0.2.7") -> float | None:
        """Quanto demora a resposta, ou nada, se ainda não é a vez."""
        vez, segundos = senhas.conferir(quem, endereco, certa)
        assert segundos or certa, "quem espera gira em falso"
        return segundos if vez else None

    assert conferir("a") == 1 and [conferir(quem, quem == "Ana") for quem in ("b", "c", "Ana", "d")] == [None] * 4
    assert conferir("Bia", True, "192.0.2.8") == 0, "é de outro endereço"
    agora[0] = 1
    assert [conferir("d"), conferir("Ana", True), conferir("c"), conferir("b"), conferir("c")] == [None] * 3 + [2, None]
    agora[0] = 3
    assert conferir("Ana", True) is None
    senhas.desistir("c")
    assert [conferir("d"), conferir("Ana", True), conferir("d"), conferir("b")] == [None, 0, 1, None]
    senhas.desistir("b")
    assert not senhas._esperam


def test_o_ritmo():
    """Passam as da folga, e depois tantas por segundo; parado, junta outra folga e não mais; com zero, passa tudo."""
    agora = [0.0]
    ritmo = Ritmo(4, lambda: agora[0])
    assert [ritmo.tirar(linhas) for linhas in (30, 0, 30, 30)] == [30, 0, 10, 0]
    agora[0] += 0.25
    assert [ritmo.tirar(30), ritmo.tirar(30)] == [1, 0]
    agora[0] += 1000
    assert ritmo.tirar(100) == 40 and Ritmo(0).tirar(10**6) == 10**6


def test_um_endereco_nao_toma_o_servidor(abrir_servidor, caplog):
    """As conexões a mais de um endereço são recusadas com o motivo, que o log só diz uma vez."""
    servidor = abrir_servidor(isentos=(), por_endereco=2)
    servidor.par()
    for _ in range(3):
        servidor.conecta().espera(f"FIM:{DO_ENDERECO}", FECHOU)
    assert caplog.messages == [f"Recusada a conexão de 127.0.0.1: {DO_ENDERECO}"]


def test_o_ultimo_lugar_e_de_quem_atende(abrir_servidor):
    """O cliente que o tomaria é recusado quando diz que é um; o atendente entra."""
    servidor = abrir_servidor(maximo=2)
    servidor.cliente("Yuri", "FILA:1")
    beto = servidor.conecta("Beto")
    beto.envia("CLIENTE")
    beto.espera(LOTADO, FECHOU)
    beto.fecha()
    servidor.espera_que_fechem(servidor.aceitas[1])
    servidor.atendente("Ana", "CONECTADO:Yuri")


@casos("o_que_ha", {"espera": "espera", "fecha": "fecha", "so-se-cala": "para_de_escrever", "encerra": "encerra"})
def test_a_espera_de_quem_erra(abrir_servidor, monkeypatch, o_que_ha):
    """Enquanto a recusa de um demora, nem a senha certa do mesmo endereço se confere; e ninguém fica preso nisso."""
    demora, conferida, conferir = 0.1 if o_que_ha == "espera" else 100 * PRAZO, threading.Event(), Senhas.conferir
    monkeypatch.setattr(Senhas, "conferir", lambda *args: (conferir(*args), conferida.set())[0])
    monkeypatch.setattr(Senhas, "PRIMEIRA", demora)
    servidor = abrir_servidor(senha="xadrez")
    inicio, rui, ana = time.monotonic(), servidor.conecta("Rui"), servidor.conecta("Ana")
    rui.envia("ATENDENTE", "dama")
    assert conferida.wait(PRAZO)
    ana.envia("ATENDENTE", "xadrez")
    ana.espera("SENHA:")
    if o_que_ha == "espera":
        ana.espera("NOME:")
        assert time.monotonic() - inicio >= demora
        rui.espera("SENHA:", ERRADA, FECHOU)
    elif o_que_ha == "encerra":
        threading.Thread(target=servidor.encerrar).start()
        rui.espera("SENHA:", DESLIGADO, FECHOU)
        ana.espera(DESLIGADO, FECHOU)
    else:
        getattr(rui, o_que_ha)()
        ana.fecha()
        if o_que_ha == "para_de_escrever":  # é sair: não se apressa a recusa de quem se foi
            rui.espera("SENHA:", FECHOU)
            rui.fecha()
        servidor.espera_que_fechem()
        assert not servidor.senhas._esperam, "quem desiste sai da fila"


def test_a_certa_espera_as_que_chegaram_antes(abrir_servidor, monkeypatch):
    """E nenhuma outra, nem as de quem errou e volta; e essa espera não gasta o prazo, que é de quem responde."""
    agora, tentou, conferir = [0.0], queue.SimpleQueue(), Senhas.conferir

    def conferir_e_contar(senhas: Senhas, quem: object, endereco: str, certa: bool) -> tuple[bool, float]:
        vez, espera = conferir(senhas, quem, endereco, certa)
        tentou.put((quem, vez))
        return vez, min(espera, 0.005)

    relogio = SimpleNamespace(monotonic=lambda: time.monotonic() + agora[0])
    monkeypatch.setattr(identificacao, "time", relogio)
    monkeypatch.setattr(Senhas, "conferir", conferir_e_contar)
    monkeypatch.setattr(Senhas, "PRIMEIRA", Senhas.MAIOR)
    servidor = abrir_servidor(senha="xadrez")
    servidor.senhas._relogio = relogio.monotonic

    def tenta(senha: str, vez: bool) -> Participante:
        """Alguém que já disse a senha; e a vez dele, se é para já."""
        alguem = servidor.conecta()
        alguem.envia("ATENDENTE")
        alguem.espera("SENHA:")
        alguem.envia(senha)
        while tentou.get(timeout=PRAZO) != (servidor.aceitas[-1], vez):
            pass
        return alguem

    tenta("dama", vez=True).espera(ERRADA, FECHOU)
    antes = [tenta("dama", vez=False) for _ in range(3)]
    ana = tenta("xadrez", vez=False)
    for quem in antes:
        depois = tenta("dama", vez=False)
        assert not ana.tem_o_que_ler()
        agora[0] += Senhas.MAIOR
        quem.espera(ERRADA, FECHOU)
    agora[0] += Senhas.MAIOR
    ana.espera("NOME:")
    assert not depois.tem_o_que_ler()


EM_TEXTO = "CLIENTE\nYuri", "agora"
EM_JSON = '{"comando":"cliente","nome":"Yuri"}', '{"comando":"mensagem","texto":"agora"}'


@casos("linha", {"texto": "oi", "vazia": "", "pedido": "FILA:", "longa": "x" * 5000, "json": "{"})
@casos("o_que_ha", {"fecha": "fecha", "e-despedido": "despedido", "o-servidor-encerra": "encerra"})
def test_acima_do_ritmo_deixa_se_de_ler(abrir_servidor, monkeypatch, linha, o_que_ha):
    """Toda linha conta; a que passa da folga espera que se durma até caber, e chega, salvo se alguém se despede."""
    segundos, parou, dormir = [0.0], threading.Event(), time.sleep
    monkeypatch.setattr(time, "sleep", lambda pausa: (dormir(pausa / 40), pausa == 0.2 and parou.set()))
    monkeypatch.setattr(modulo, "Ritmo", lambda por_segundo: Ritmo(por_segundo, lambda: segundos[0]))
    servidor = abrir_servidor(ritmo=1)
    ana, yuri = servidor.atendente("Ana", "FILA:OK"), servidor.conecta("Yuri")
    entrada, ultima = EM_JSON if linha == "{" else EM_TEXTO
    yuri.envia(entrada)
    ana.espera("CONECTADO:Yuri")
    yuri.envia(*[linha] * 10, ultima)
    assert parou.wait(PRAZO)
    ana.espera(*["[Yuri]: oi"] * 10 * (linha == "oi"))
    assert not ana.tem_o_que_ler()
    if o_que_ha == "fecha":
        yuri.para_de_escrever()
        segundos[0] += 1
        ana.espera("[Yuri]: agora", YURI_DESCONECTOU)
    elif o_que_ha == "despedido":
        ana.envia("FIM:")
        assert ANA_ENCERROU[4:] in yuri.le_ate(FECHOU)[-1]
    else:
        threading.Thread(target=servidor.encerrar).start()
        assert DESLIGADO[4:] in yuri.le_ate(FECHOU)[-1]
    servidor.fecha_participantes()
    servidor.espera_que_fechem()


@casos("o_que_ha", {"espera": "espera", "fecha": "fecha", "vence-o-prazo": "vence"})
def test_as_linhas_em_branco_gastam_o_ritmo(abrir_servidor, monkeypatch, o_que_ha):
    """Também antes do tipo: quem passa da folga espera, sem ganhar prazo, e o que disse depois delas vale."""
    segundos, parou, tirar = [0.0], threading.Event(), Ritmo.tirar
    monkeypatch.setattr(Ritmo, "tirar", lambda *args: tirar(*args) or parou.set() or 0)
    monkeypatch.setattr(identificacao, "Ritmo", lambda por_segundo: Ritmo(por_segundo, lambda: segundos[0]))
    monkeypatch.setattr(Ritmo, "PAUSA", 0.005)
    servidor = abrir_servidor(ritmo=1, prazo_identificacao=0.2 if o_que_ha == "vence" else 100 * PRAZO)
    alguem = servidor.conecta()
    alguem.envia(*[""] * 15, "CLIENTE")
    assert parou.wait(PRAZO)
    if o_que_ha == "espera":
        assert not alguem.tem_o_que_ler()
        segundos[0] += 10
        alguem.espera("NOME:")
    elif o_que_ha == "vence":
        alguem.espera("FIM:Tempo de identificação esgotado.", FECHOU)
    alguem.fecha()
    servidor.espera_que_fechem()
